"""What the operating system says of this process and this machine, where it can be asked for nothing or little.

Resident memory does not hold what a process has on the GPU of a Mac; its physical footprint, which the system's own
limits go by, does. Every function answers None where there is no such number.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

_RUSAGE_INFO_V4: Final = 4
_FOOTPRINT: Final = 9
"""Index of `ri_phys_footprint` among the 64-bit words of `rusage_info_v4`, of which the first two are a UUID."""

_CONTAINER_LIMITS: Final = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""Of control groups of version 2 and of version 1."""

_RUSAGE_WORDS: Final = 64
"""More than any version of the structure has."""


def physical_footprint(pid: int) -> int | None:
    """Bytes that the process `pid` answers for: on macOS its footprint, on Linux what is resident or swapped."""
    if sys.platform == "darwin":
        words = (ctypes.c_uint64 * _RUSAGE_WORDS)()
        failed = _libsystem().proc_pid_rusage(pid, _RUSAGE_INFO_V4, ctypes.byref(words))
        return None if failed else int(words[_FOOTPRINT])
    return _resident(pid)


def memory_size(container_limits: Sequence[Path] = _CONTAINER_LIMITS) -> int:
    """Bytes of memory that all processes here share: the machine's, or what a container may use of it.

    `container_limits` are the files of Linux's control groups, of which a machine outside of any has none.
    """
    if sys.platform == "darwin":
        return int(subprocess.run(["/usr/sbin/sysctl", "-n", "hw.memsize"], capture_output=True, check=True).stdout)
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_limits(container_limits)])


def memory_pressure() -> int | None:
    """macOS: 1 is normal, 2 a warning, 4 critical."""
    if sys.platform != "darwin":
        return None
    level, size = ctypes.c_int(0), ctypes.c_size_t(ctypes.sizeof(ctypes.c_int))
    name = b"kern.memorystatus_vm_pressure_level"
    failed = _libsystem().sysctlbyname(name, ctypes.byref(level), ctypes.byref(size), None, 0)
    return None if failed else level.value


def thermal_pressure() -> int | None:
    """macOS: 0 is nominal, 1 moderate, 2 heavy, 3 trapping, 4 sleeping (`OSThermalNotification.h`)."""
    if sys.platform != "darwin":
        return None
    token, level = _thermal_token(), ctypes.c_uint64(0)
    failed = token is None or _libsystem().notify_get_state(token, ctypes.byref(level))
    return None if failed else int(level.value)


def seconds_asleep() -> float:
    """How long the machine has slept since it was started. No setting of its clock changes that."""
    if sys.platform == "darwin":
        return time.clock_gettime(time.CLOCK_MONOTONIC) - time.clock_gettime(time.CLOCK_UPTIME_RAW)
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


def _limits(files: Sequence[Path]) -> Iterator[int]:
    for path in files:
        with suppress(OSError, ValueError):  # no such control group, or one without a limit, which says "max"
            yield int(path.read_text())


class Wakes:
    """Counts how often the machine has slept."""

    _SHORTEST: Final = 2.0

    def __init__(self) -> None:
        self._asleep = seconds_asleep()

    def new(self) -> int:
        """1 if it has slept since the last call, else 0."""
        before, self._asleep = self._asleep, seconds_asleep()
        return int(self._asleep - before > self._SHORTEST)


def _resident(pid: int) -> int | None:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    sizes = [int(line.split()[1]) for line in lines if line.startswith(("VmRSS:", "VmSwap:"))]
    return sum(sizes) * 1024 if sizes else None


@lru_cache(maxsize=1)
def _libsystem() -> Any:
    return ctypes.CDLL("/usr/lib/libSystem.dylib", use_errno=True)


@lru_cache(maxsize=1)
def _thermal_token() -> int | None:
    token = ctypes.c_int(0)
    failed = _libsystem().notify_register_check(b"com.apple.system.thermalpressurelevel", ctypes.byref(token))
    return None if failed else token.value
