"""One child process: started in a session of its own, stopped politely, and never left behind.

Knows neither what the child does nor whether it should be started again; `supervisor.py` decides that.

A session of its own, because Ctrl-C in a terminal reaches the whole foreground process group, and a child that it
reached would drop its streams. Never left behind, because each child holds the read end of a pipe whose only write
end is its parent's: however the parent ends, the kernel closes that end, and the child ends its process group.
`PR_SET_PDEATHSIG` exists on Linux alone, and polling `getppid` misses a parent that died before the first look.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import ClassVar, Self

LIFELINE = "PARENT_LIFELINE_FD"
"""The variable that tells a child which of its file descriptors is the read end. Not a setting, so not `LLM_*`."""


def end_with_parent() -> None:
    """End this process and its group as soon as the parent is gone. Each child calls it once, before anything slow.

    Does nothing in a process that `Child.start` did not start. After a fork it is called again, in the fork.
    """
    lifeline = os.environ.pop(LIFELINE, None)
    if lifeline is not None:
        threading.Thread(target=_end_at_eof, args=(int(lifeline),), name="lifeline", daemon=True).start()


def _end_at_eof(lifeline: int) -> None:
    while os.read(lifeline, 1):
        pass
    os.killpg(0, signal.SIGKILL)


def describe_exit(code: int) -> str:
    """An exit status in words: "exit code 1", "SIGKILL"."""
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"


class Child:
    """A running child process and the group that it leads."""

    running: ClassVar[set[Child]] = set()

    def __init__(self, process: asyncio.subprocess.Process, lifeline: int) -> None:
        self._process = process
        self._lifeline = lifeline
        self.running.add(self)

    @classmethod
    async def start(cls, command: Sequence[str], environment: Mapping[str, str], inherit: Sequence[int] = ()) -> Self:
        """Run `command` with these variables and these file descriptors of ours, under the same numbers.

        Raises:
            OSError: the process can not be started.
        """
        read_end, write_end = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                env={**environment, LIFELINE: str(read_end)},
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(read_end, *inherit),
                start_new_session=True,
            )
        except BaseException:
            os.close(write_end)
            raise
        finally:
            os.close(read_end)
        return cls(process, write_end)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> int:
        """The exit code, or minus the signal's number. What the child has started itself ends, too."""
        code = await self._process.wait()
        if self in self.running:
            self.running.remove(self)
            self.kill()
            os.close(self._lifeline)
        return code

    def send_signal(self, signum: signal.Signals) -> None:
        """To the child alone, not to its group. Nothing happens when it has ended."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signum)

    def kill(self) -> None:
        """SIGKILL to the whole group."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    async def stop(self, grace: float) -> int:
        """SIGTERM, and SIGKILL `grace` seconds later if it is still there."""
        self.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace):
                return await self.wait()
        except TimeoutError:
            self.kill()
        return await self.wait()


def kill_children() -> None:
    """SIGKILL to every running child and its group."""
    for child in tuple(Child.running):
        child.kill()
