"""Tokens to text, one at a time. Knows nothing of messages.

A token may end in the middle of a character: it is held back until the character is whole, and becomes U+FFFD if it
never is.
"""

from __future__ import annotations

import codecs
from functools import lru_cache

from llm_server.harmony.encoding import token_bytes


class TokenText:
    """The text of a stream of ordinary tokens."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._within_character = False

    def decode(self, token: int) -> str:
        """The text that is whole with this token; may be empty."""
        if not self._within_character:
            text = _whole_text(token)
            if text is not None:
                return text
        text = self._decoder.decode(token_bytes(token))
        self._within_character = bool(self._decoder.getstate()[0])
        return text

    def flush(self) -> str:
        """No more tokens will come: U+FFFD for a character that was begun."""
        if not self._within_character:
            return ""
        self._within_character = False
        return self._decoder.decode(b"", final=True)


@lru_cache(maxsize=65_536)
def _whole_text(token: int) -> str | None:
    """The token's text, or None if it is no whole number of characters."""
    try:
        return token_bytes(token).decode()
    except UnicodeDecodeError:
        return None
