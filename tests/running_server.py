"""A real server: `llm-server serve` on a free port, with the embedded model; the fixtures are in `integration/`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Protocol

from processes import ProcessEntry, descendants, is_running, wait_until

START_SECONDS = 120
STOP_SECONDS = 60


@dataclass(frozen=True)
class RunningServer:
    """A server in a process group of its own. `log_path` is all that its processes write to stdout and stderr."""

    base_url: str
    process: subprocess.Popen[bytes]
    log_path: Path

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    @property
    def end_of_log(self) -> str:
        return self.log[-3000:]

    @property
    def port(self) -> int:
        return int(self.base_url.rpartition(":")[2])

    def answers(self, path: str) -> bool:
        """Whether a GET of `path` is answered with 200."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def refuses_connections(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) != 0

    def children(self) -> list[ProcessEntry]:
        return descendants(self.process.pid)

    def engine_pids(self) -> set[int]:
        return {entry.pid for entry in self.children() if "llm_server.engine.process" in entry.command}

    def worker_pids(self) -> set[int]:
        gunicorn = [entry for entry in self.children() if "gunicorn" in entry.command]
        return {entry.pid for entry in gunicorn if entry.parent != self.process.pid}

    def wait_until_ready(self) -> None:
        """
        Raises:
            TimeoutError: it never was.
            AssertionError: it has ended instead.
        """

        def ready_or_ended() -> bool:
            return self.process.poll() is not None or self.answers("/readyz")

        wait_until(ready_or_ended, seconds=START_SECONDS)
        assert self.process.poll() is None, self.end_of_log

    def wait(self) -> int:
        """The exit code."""
        return self.process.wait(STOP_SECONDS)


class StartServer(Protocol):
    def __call__(self, *, command: tuple[str, ...] = ..., **variables: str) -> RunningServer: ...


SERVE = ("-m", "llm_server", "serve")


@contextmanager
def launched(folder: Path, command: tuple[str, ...] = SERVE, **variables: str) -> Iterator[RunningServer]:
    """A server that has just been started; killed at the end, if it still runs, with all that it has started."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    ours = {"LLM_PORT": str(port), "LLM_MODEL_PATH": "tiny", "LLM_STATE_DIR": str(folder / "state")}
    others = {name: value for name, value in os.environ.items() if not name.startswith("LLM_")}
    log_path = folder / "log"
    words = [sys.executable, *(word.format(port=port) for word in command)]
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            words, cwd=folder, env=others | ours | variables, stdout=log, stderr=log, start_new_session=True
        )
    server = RunningServer(f"http://127.0.0.1:{port}", process, log_path)
    try:
        yield server
    finally:
        left = [process.pid, *(entry.pid for entry in server.children())]
        for pid in left:
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)
        process.wait(STOP_SECONDS)
