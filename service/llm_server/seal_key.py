"""The secret with which reasoning is sealed: the setting's, or one that is made at the first start and kept in a file.

The file appears whole or not at all, so that several workers which start at once agree on one key. Knows no cipher.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import Final

from llm_server.settings import Settings, SettingsError

KEY_BYTES: Final = 32
FILE_NAME: Final = "seal.key"


def read_seal_key(settings: Settings) -> bytes:
    """The secret, made now if there is none yet.

    Raises:
        SettingsError: the file can not be made or read, holds no key, or is not this user's alone.
    """
    if settings.seal_key is not None:
        return settings.seal_key.get_secret_value().encode()
    path = settings.state_dir / FILE_NAME
    try:
        if not path.exists():
            _make(path)
        return _read(path)
    except OSError as error:
        raise SettingsError(
            f"{path}: {error.strerror}; the key of seals is kept there, unless LLM_SEAL_KEY is set"
        ) from None


def _make(path: Path) -> None:
    """Write the key elsewhere and link it to its place, which fails for all but the first who try."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink(missing_ok=True)


def _read(path: Path) -> bytes:
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        about = os.fstat(file.fileno())
        key = file.read(KEY_BYTES + 1)
    if about.st_uid != os.geteuid() or stat.S_IMODE(about.st_mode) & 0o077:
        raise SettingsError(f"{path}: this file of a key must be this user's alone (mode 0600)")
    if len(key) != KEY_BYTES:
        raise SettingsError(f"{path} is no key of {KEY_BYTES} bytes; remove it, and another one is made")
    return key
