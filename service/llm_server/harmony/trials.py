"""Has rules of grammars tried out in processes of their own, which are killed when a rule takes too long.

A few at once, so that one sender's rules hold up nobody else's for long; what was found is remembered. Knows nothing
of schemas: rules in, and why each is refused.
"""

from __future__ import annotations

import asyncio
import atexit
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from multiprocessing.connection import Connection
from typing import Final

from llm_server.harmony.faults import TOO_COMPLEX, KnownFaults

SECONDS: Final = 5.0
PROCESSES: Final = 4

_START_SECONDS: Final = 60.0
"""A process that is started on a busy machine takes its time, which is not the rule's."""

_KNOWN: Final = 4096


class Trials:
    """Tries each rule once. `seconds` a rule may take."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(PROCESSES, "trial")
        self._idle: deque[_Process] = deque()
        self._known = KnownFaults(_KNOWN)

    async def faults(self, rules: Iterable[str]) -> dict[str, str]:
        """Why each of the rules can not be enforced; "" for one that can."""
        loop = asyncio.get_running_loop()
        known = {rule: self._known.find(rule) for rule in rules}
        unknown = [rule for rule, fault in known.items() if fault is None]
        found = await asyncio.gather(*(loop.run_in_executor(self._threads, self._try, rule) for rule in unknown))
        tried = dict(zip(unknown, found, strict=True))
        for rule, fault in tried.items():
            self._known.add(rule, fault)
        return {rule: tried[rule] if fault is None else fault for rule, fault in known.items()}

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)
        while self._idle:
            self._idle.pop().end()

    def _try(self, rule: str) -> str:
        """A process that has tried others may end for what they have left; one of its own ends for this rule."""
        if (used := self._idle_process()) is not None:
            with suppress(EOFError, OSError):
                return self._answer(used, rule)
        try:
            return self._answer(_Process(), rule)
        except (EOFError, OSError):
            return TOO_COMPLEX

    def _answer(self, process: _Process, rule: str) -> str:
        """
        Raises:
            EOFError, OSError: the process has come to its end.
        """
        try:
            fault = process.answer(rule, self._seconds)
        except TimeoutError:
            process.end()
            return f"it takes longer than {self._seconds:g} s to compile"
        except (EOFError, OSError):
            process.end()
            raise
        self._idle.append(process)
        return fault

    def _idle_process(self) -> _Process | None:
        """Another thread may take the last one at the same time."""
        try:
            return self._idle.pop()
        except IndexError:
            return None


class _Process:
    """A running `trial_process`. It ends when its connection does, so it never outlives this process for long."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-P", "-m", "llm_server.harmony.trial_process", str(theirs.fileno())]
            # What a library prints when it fails on a rule may quote it, and this process's stderr is a log.
            self._process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        self._connection = Connection(ours.detach())
        self._waits = _START_SECONDS

    def answer(self, rule: str, seconds: float) -> str:
        """Why the rule is refused, or "".

        Raises:
            TimeoutError: there is no answer in time.
            EOFError, OSError: the process has come to its end.
        """
        self._wake()
        self._connection.send_bytes(rule.encode())
        return self._received(seconds)

    def end(self) -> None:
        self._connection.close()
        self._process.kill()
        self._process.wait()

    def _wake(self) -> None:
        """An answer to a rule that takes no time shows that the process has started."""
        if self._waits:
            self._connection.send_bytes(b'"a"')
            self._received(self._waits)
            self._waits = 0.0

    def _received(self, seconds: float) -> str:
        if not self._connection.poll(seconds):
            raise TimeoutError
        return self._connection.recv_bytes().decode()


@cache
def shared_trials() -> Trials:
    """Those of this process, ended with it."""
    trials = Trials()
    atexit.register(trials.close)
    return trials
