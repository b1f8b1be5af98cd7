"""Where processes meet: refusals are one clear line, and nobody else can reach the engine's socket."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from llm_server.addresses import engine_socket, listen
from llm_server.settings import SettingsError


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_connections_wait_until_somebody_accepts_them() -> None:
    (listener,) = listen("127.0.0.1", free_port())
    with listener, socket.create_connection(listener.getsockname()) as client:
        client.sendall(b"early")
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.recv(16) == b"early"


def test_localhost_is_reached_by_ipv4() -> None:
    port = free_port()
    listeners = listen("localhost", port)
    with socket.create_connection(("127.0.0.1", port)):
        pass
    for listener in listeners:
        listener.close()


def test_a_port_that_is_taken_is_refused_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"^port {port} of 127\.0\.0\.1 is taken.*--port[^\n]*$"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize("host", ["no..name", "192.0.2.1"])
def test_a_foreign_address_is_refused_in_one_line(host: str) -> None:
    with pytest.raises(SettingsError, match=rf"^[^\n]*{re.escape(host)}[^\n]*$"):
        listen(host, free_port())


def test_the_socket_lies_in_a_private_folder(tmp_path: Path) -> None:
    (tmp_path / "state" / "run").mkdir(parents=True, mode=0o755)
    with engine_socket(tmp_path / "state") as address:
        folder = Path(address.removeprefix("ipc://")).parent
        assert folder.stat().st_mode & 0o777 == 0o700
        assert folder == tmp_path / "state" / "run"


def test_engines_do_not_share_a_socket(tmp_path: Path) -> None:
    with engine_socket(tmp_path) as first, engine_socket(tmp_path) as second:
        assert first != second


def test_a_deep_state_folder_is_no_problem(tmp_path: Path) -> None:
    with engine_socket(tmp_path / ("deep" * 30)) as address, socket.socket(socket.AF_UNIX) as listener:
        path = Path(address.removeprefix("ipc://"))
        listener.bind(str(path))
        assert path.parent.stat().st_mode & 0o777 == 0o700
    assert not path.parent.exists()


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SettingsError, match="LLM_STATE_DIR"), engine_socket(tmp_path):
        pass


def test_a_state_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="LLM_STATE_DIR"), engine_socket(tmp_path / "file"):
        pass


def test_sockets_of_killed_servers_are_removed_and_no_others(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left, used = (tmp_path / "run" / f"engine-{pid}-abc123.sock" for pid in (ended.pid, os.getpid()))
    left.parent.mkdir()
    left.touch()
    used.touch()
    with engine_socket(tmp_path):
        assert not left.exists()
        assert used.exists()
