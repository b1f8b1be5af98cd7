"""Reasoning as bytes that a client can keep and hand back, but neither read nor change: AES-GCM (NIST SP 800-38D).

A seal is a version, a nonce and the encrypted body of one message of analysis, as base64url text. Whatever else a
client hands back, another server's seal, an older key's, one that lost its end, is no seal of ours: it opens to
nothing, is counted, and raises nothing. Knows no file and no setting; `seal_key` has the key.
"""

from __future__ import annotations

import binascii
import os
import re
import threading
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from llm_server.harmony.encoding import FIRST_SPECIAL

LONGEST_BODY: Final = 131_072
"""Tokens: gpt-oss's whole context. A longer body is not sealed."""

_VERSION: Final = b"\x01"
_PURPOSE: Final = b"llm-server sealed reasoning"
_ALPHABET: Final = re.compile(r"[A-Za-z0-9_-]+")
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_TOKEN_BYTES: Final = 3
_LONGEST_SEAL: Final = (len(_VERSION) + _NONCE_BYTES + LONGEST_BODY * _TOKEN_BYTES + _TAG_BYTES) * 4 // 3 + 1
"""Characters. A longer text is not even decoded."""


class Sealer:
    """Seals and opens with one key, derived from any secret (HKDF, RFC 5869). Safe to use from several threads.

    `rejected` counts what was handed back and could not be opened. Nonces are random, which suffices for 2**32 seals.
    """

    def __init__(self, secret: bytes) -> None:
        key = HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(secret)
        self._cipher = AESGCM(key)
        self._lock = threading.Lock()
        self.rejected = 0

    def seal(self, body: Sequence[int]) -> str:
        """The sealed body, or "" if it is too long or holds a special token: what could not be opened is not made."""
        if len(body) > LONGEST_BODY or not all(0 <= token < FIRST_SPECIAL for token in body):
            return ""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, _packed(body), _PURPOSE + _VERSION)
        return _text(_VERSION + nonce + sealed)

    def open(self, seal: str) -> tuple[int, ...] | None:
        """The body, ordinary tokens alone, or None for anything that this key has not sealed."""
        body = self._opened(seal) if len(seal) <= _LONGEST_SEAL else None
        if body is None:
            with self._lock:
                self.rejected += 1
        return body

    def _opened(self, seal: str) -> tuple[int, ...] | None:
        sealed = _bytes(seal)
        if len(sealed) < len(_VERSION) + _NONCE_BYTES + _TAG_BYTES or not sealed.startswith(_VERSION):
            return None
        nonce, encrypted = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return _unpacked(self._cipher.decrypt(nonce, encrypted, _PURPOSE + _VERSION))
        except InvalidTag:
            return None


def _text(sealed: bytes) -> str:
    return urlsafe_b64encode(sealed).rstrip(b"=").decode()


def _bytes(seal: str) -> bytes:
    """What `_text` has written, or nothing. There is one text for the same bytes, and no other is taken."""
    if not _ALPHABET.fullmatch(seal):
        return b""
    try:
        sealed = urlsafe_b64decode(seal + "=" * (-len(seal) % 4))
    except binascii.Error:
        return b""
    return sealed if _text(sealed) == seal else b""


def _packed(body: Iterable[int]) -> bytes:
    """Seven bits a byte, the lowest first (LEB128): frequent tokens have low ids, so two bytes are the mean.

    Deflate would save a quarter of a long body, and nothing of one below two hundred tokens.
    """
    packed = bytearray()
    for token in body:
        while token > 0x7F:
            packed.append(token & 0x7F | 0x80)
            token >>= 7
        packed.append(token)
    return bytes(packed)


def _unpacked(packed: bytes) -> tuple[int, ...] | None:
    """The tokens, or None if they are not the body of a message: authentic, but of a version with other rules."""
    body: list[int] = []
    token = shift = 0
    for byte in packed:
        token |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            body.append(token)
            token = shift = 0
        elif shift > 14:
            return None
    whole = not shift and len(body) <= LONGEST_BODY and all(token < FIRST_SPECIAL for token in body)
    return tuple(body) if whole else None
