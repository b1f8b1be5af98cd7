"""Keeps a Mac from falling asleep while it generates: a turn of ten minutes must not end because nobody typed.

Knows of the engine only how many requests it has. `caffeinate -is`: the display may go off (with it on, macOS aborts
long GPU commands to keep the desktop fluent), and a closed lid still sleeps. Elsewhere nothing is done.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

from llm_server.engine.types import Status

logger = logging.getLogger(__name__)

CAFFEINATE: Final = ("/usr/bin/caffeinate", "-is", "-w", str(os.getpid()))
"""Ends with this process, however that ends."""

_BUSY_AFTER: Final = 2
"""Reports in a row, about a second apart. One alone may be the canary, whose single token keeps nobody awake."""

_IDLE_AFTER: Final = 5


class Awake:
    """Hears each report of the engine, and runs `command` for as long as there is work."""

    def __init__(self, command: Sequence[str] = CAFFEINATE if sys.platform == "darwin" else ()) -> None:
        self._command = command
        self._holder: subprocess.Popen[bytes] | None = None
        self._busy = 0
        self._idle = 0

    @property
    def is_held(self) -> bool:
        return self._holder is not None

    def hear(self, status: Status) -> None:
        if status.running + status.waiting:
            self._busy, self._idle = self._busy + 1, 0
        else:
            self._busy, self._idle = 0, self._idle + 1
        if self._busy >= _BUSY_AFTER and not self.is_held and self._command:
            self._hold()
        elif self._idle >= _IDLE_AFTER:
            self.release()

    def _hold(self) -> None:
        try:
            self._holder = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)
        except OSError as error:
            logger.warning("this machine can not be kept awake: %s", error)
            self._command = ()

    def release(self) -> None:
        """Let the machine sleep again. Nothing happens if it may already."""
        if self._holder is not None:
            self._holder.terminate()
            self._holder.wait()
            self._holder = None
