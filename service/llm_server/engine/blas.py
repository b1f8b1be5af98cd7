"""OpenBLAS for MLX on Linux, whose wheels carry the reference BLAS: its matrix products take five to ten times as long.

MLX calls `cblas_sgemm` by name, and the dynamic linker asks libraries that were opened for everyone first. OpenBLAS as
PyPI has it (`scipy-openblas32`) prefixes its names, so a second, tiny library that consists of one symbol, the
unprefixed name at the address of the prefixed function, is written in memory and opened for everyone. Knows nothing of
models; imports no MLX, and must be called before MLX is imported.
"""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import os
import platform
import struct
import sys
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

_MACHINES: Final = {"x86_64": 62, "aarch64": 183}
"""`e_machine` of the System V ABI, by the kernel's name of the architecture."""

_FUNCTION: Final = "cblas_sgemm"
_THREADS: Final = "OPENBLAS_NUM_THREADS"


def use_openblas() -> bool:
    """Whether MLX multiplies float32 matrices with OpenBLAS from here on. Where that can not be, nothing changes."""
    library = _library()
    if library is None or platform.machine() not in _MACHINES:
        return False
    # Its threads wait actively, and API workers need a core as well.
    os.environ.setdefault(_THREADS, str(max(1, len(os.sched_getaffinity(0)) - 1)))
    try:
        address = ctypes.cast(ctypes.CDLL(str(library)).scipy_cblas_sgemm, ctypes.c_void_p).value
        _open_for_everyone(_symbol_library(_FUNCTION, address or 0))
    except (OSError, AttributeError) as error:
        logger.warning("OpenBLAS can not be used, so MLX multiplies slowly: %s", error)
        return False
    return True


def _library() -> Path | None:
    package = importlib.util.find_spec("scipy_openblas32") if sys.platform == "linux" else None
    if package is None or package.origin is None:
        return None
    return next((Path(package.origin).parent / "lib").glob("libscipy_openblas*.so"), None)


def _open_for_everyone(library: bytes) -> None:
    file = os.memfd_create("blas")
    try:
        os.write(file, library)
        ctypes.CDLL(f"/proc/self/fd/{file}", mode=ctypes.RTLD_GLOBAL)
    finally:
        os.close(file)


def _symbol_library(name: str, address: int) -> bytes:
    """An ELF shared object without code, whose only symbol is absolute (System V gABI, chapters 4 and 5)."""
    header_size, segment_size, symbol_size = 64, 56, 24
    names = b"\0" + name.encode() + b"\0"
    names += bytes(-len(names) % 8)
    function, absolute = (1 << 4) | 2, 0xFFF1  # STB_GLOBAL | STT_FUNC, SHN_ABS: not moved with the library
    symbols = bytes(symbol_size) + struct.pack("<IBBHQQ", 1, function, 0, absolute, address, 0)
    table = struct.pack("<6I", 1, 2, 1, 0, 0, 0)  # one bucket, which begins with symbol 1 and ends there
    symbols_at = header_size + 2 * segment_size
    table_at = symbols_at + len(symbols)
    names_at = table_at + len(table)
    dynamic_at = names_at + len(names)
    entries = ((4, table_at), (5, names_at), (6, symbols_at), (10, len(names)), (11, symbol_size), (0, 0))
    dynamic = b"".join(struct.pack("<qQ", tag, value) for tag, value in entries)
    size = dynamic_at + len(dynamic)
    identity = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9)  # 64 bits, little-endian, version 1
    machine = _MACHINES[platform.machine()]
    header = identity + struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, header_size, 0, 0, 64, segment_size, 2, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 6, 0, 0, 0, size, size, 0x10000)
    tables = struct.pack("<IIQQQQQQ", 2, 6, dynamic_at, dynamic_at, dynamic_at, len(dynamic), len(dynamic), 8)
    return b"".join((header, load, tables, symbols, table, names, dynamic))
