"""Text that a client keeps and hands back, and that only this server can read: Fernet (AES-CBC and HMAC).

What was sealed here has been shown to nobody, but says nothing of the model's analysis, whose seals are others
(`harmony.seal`): neither opens the other's. Knows no file and no setting.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import Final

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_PURPOSE: Final = b"llm-server sealed text"


class TextSealer:
    """Seals and opens with one key, derived from any secret (HKDF, RFC 5869)."""

    def __init__(self, secret: bytes) -> None:
        key = HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(secret)
        self._cipher = Fernet(urlsafe_b64encode(key))

    def seal(self, text: str) -> str:
        return self._cipher.encrypt(text.encode()).decode()

    def open(self, seal: str) -> str | None:
        """The text, or None for anything that this key has not sealed."""
        try:
            return self._cipher.decrypt(seal.encode()).decode()
        except InvalidToken:
            return None
