"""Where processes meet: the TCP sockets that clients connect to, and the private folder of the engine's socket.

The supervisor listens itself and hands the sockets down. So a port that is taken is found before anything has been
started, and connections wait in the kernel, instead of being refused, while the API workers are replaced.
"""

from __future__ import annotations

import errno
import os
import secrets
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from llm_server.settings import SettingsError

_BACKLOG = 2048
_LONGEST_SOCKET_PATH = 100
"""Bytes. The kernel's own limit is 104 on macOS and 108 on Linux, with the final zero."""


def listen(host: str, port: int) -> tuple[socket.socket, ...]:
    """Listening sockets on every address that `host` stands for: `localhost` is two, for IPv4 and IPv6.

    Raises:
        SettingsError: the port is taken or not allowed, or `host` is no address of this machine.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise SettingsError(f"LLM_HOST={host} is no address of this machine, and no name of one") from None
    listeners: list[socket.socket] = []
    faults: list[OSError] = []
    for family, address in dict.fromkeys((entry[0], entry[4]) for entry in found):
        try:
            listeners.append(_listener(family, address))
        except OSError as error:
            faults.append(error)
    if not listeners or any(fault.errno == errno.EADDRINUSE for fault in faults):
        for listener in listeners:
            listener.close()
        raise SettingsError(_refusal(host, port, faults))
    return tuple(listeners)


def _listener(family: int, address: tuple[Any, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _refusal(host: str, port: int, faults: list[OSError]) -> str:
    if any(fault.errno == errno.EADDRINUSE for fault in faults):
        return f"port {port} of {host} is taken, perhaps by another llm-server; LLM_PORT or --port chooses another one"
    return f"can not listen on port {port} of {host}: {faults[0].strerror}"


@contextmanager
def engine_socket(state_dir: Path) -> Iterator[str]:
    """A ZeroMQ address for one engine, in a folder that only this user can enter. The socket is removed at the end.

    Raises:
        SettingsError: the folder can not be made, or is not this user's.
    """
    with _private_socket(state_dir, "engine") as path:
        yield f"ipc://{path}"


@contextmanager
def metrics_socket(state_dir: Path) -> Iterator[str]:
    """The path of a unix socket for the owner of the metrics, in the same folder. It raises the same, too."""
    with _private_socket(state_dir, "metrics") as path:
        yield path


@contextmanager
def _private_socket(state_dir: Path, name: str) -> Iterator[str]:
    folder = _private_folder(state_dir / "run")
    _remove_leftovers(folder)
    path = folder / f"{name}-{os.getpid()}-{secrets.token_hex(3)}.sock"
    if len(os.fsencode(path)) > _LONGEST_SOCKET_PATH:
        with TemporaryDirectory(prefix="llm-server-", dir="/tmp") as short:
            yield f"{short}/{name}.sock"
        return
    try:
        yield str(path)
    finally:
        path.unlink(missing_ok=True)


def _private_folder(folder: Path) -> Path:
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        about = folder.lstat()
        is_own = stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid()
        if is_own:
            folder.chmod(0o700)
    except OSError as error:
        raise SettingsError(f"LLM_STATE_DIR={folder.parent}: {error.strerror}") from None
    if not is_own:
        raise SettingsError(f"LLM_STATE_DIR={folder.parent}: `{folder.name}` in it is not a folder of this user")
    return folder


def _remove_leftovers(folder: Path) -> None:
    """Sockets of processes that were killed: nobody else can remove them."""
    for path in folder.glob("*-*-*.sock"):
        pid = path.name.split("-")[1]
        if pid.isdecimal() and not _is_alive(int(pid)):
            path.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
