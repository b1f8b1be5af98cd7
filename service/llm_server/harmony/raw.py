"""Where a prompt that nobody framed leaves off, so that what the model writes next is read as what it is.

A raw prompt may be plain text, or a Harmony conversation that breaks off anywhere, its markers special tokens or
spelled in characters. Plain text goes on as an answer does: it is shown until a marker says otherwise. Inside analysis
nothing is shown. Token ids in, token ids out; knows no API.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from llm_server.harmony.encoding import encode, harmony_encoding, is_special

_ENDS: Final = ("<|end|>", "<|return|>", "<|call|>")

_PLAIN_TEXT: Final = "<|channel|>final<|message|>"
"""What plain text is taken to stand behind. Spelled, so that the parser heeds markers that are."""


def unfinished(prompt: Sequence[int]) -> list[int]:
    """What to read first, to be in the state in which the model goes on: see `HarmonyParser.resume`."""
    text = harmony_encoding().decode(prompt)
    end = max(text.rfind(marker) + len(marker) if marker in text else 0 for marker in _ENDS)
    rest = text[end:]
    message = rest[max(rest.rfind("<|start|>"), 0) :]
    is_header = message.startswith("<|start|>assistant") and "<|message|>" not in message
    if is_header or "<|channel|>" in message:
        spelled = not any(map(is_special, prompt))
        return encode(message) if spelled else list(harmony_encoding().encode(message, allowed_special="all"))
    return [] if end and not rest.strip() else encode(_PLAIN_TEXT)
