"""What runs on this machine, for tests that start and kill processes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class ProcessEntry(NamedTuple):
    pid: int
    parent: int
    group: int
    command: str


def running_processes() -> list[ProcessEntry]:
    """All that run; those that have ended and wait to be reaped do not count."""
    return _from_proc() if sys.platform == "linux" else _from_ps()


def _from_proc() -> list[ProcessEntry]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent, group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            command = (folder / "cmdline").read_text().replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state not in "ZX":
            found.append(ProcessEntry(int(folder.name), int(parent), int(group), command))
    return found


def _from_ps() -> list[ProcessEntry]:
    lines = subprocess.run(["ps", "-Ao", "pid=,ppid=,pgid=,stat=,command="], capture_output=True, text=True, check=True)
    words = [line.split(None, 4) for line in lines.stdout.splitlines()]
    return [
        ProcessEntry(int(pid), int(parent), int(group), command)
        for pid, parent, group, state, command in words
        if state[0] != "Z"
    ]


def is_running(pid: int) -> bool:
    return any(entry.pid == pid for entry in running_processes())


def descendants(pid: int) -> list[ProcessEntry]:
    """The processes that `pid` has started, those that they have started, and so on."""
    children = [entry for entry in running_processes() if entry.parent == pid]
    return [*children, *(entry for child in children for entry in descendants(child.pid))]


def wait_until(condition: Callable[[], object], *, seconds: float = 30.0) -> None:
    """Return as soon as `condition` holds.

    Raises:
        TimeoutError: it never did.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not true within {seconds:g} s")
        time.sleep(0.05)
