"""Where a prompt that nobody framed leaves off, so that what the model writes next is read as what it is.

A raw prompt may be plain text, or a Harmony conversation that breaks off anywhere, its markers special tokens or
spelled in characters. Plain text goes on as an answer does: it is shown until a marker says otherwise. Inside analysis
nothing is shown. Token ids in, token ids out; knows no API.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from llm_server.harmony.encoding import CALL, CHANNEL, END, MESSAGE, RETURN, START, encode, is_special
from llm_server.harmony.tokens import text_of

_PLAIN_TEXT: Final = "<|channel|>final<|message|>"
"""What plain text is taken to stand behind. Spelled, so that the parser heeds markers that are."""

_SPELLED_ENDS: Final = ("<|end|>", "<|return|>", "<|call|>")


def unfinished(prompt: Sequence[int]) -> list[int]:
    """What to read first, to be in the state in which the model goes on: see `HarmonyParser.resume`."""
    return _unfinished_tokens(prompt) if any(map(is_special, prompt)) else _unfinished_text(text_of(prompt))


def _unfinished_tokens(prompt: Sequence[int]) -> list[int]:
    """Cut, and not written and encoded anew: the encoding takes minutes for a long run of one character."""
    ended = _behind_last(prompt, (END, RETURN, CALL))
    rest = prompt[ended:]
    message = list(rest[max(_behind_last(rest, (START,)) - 1, 0) :])
    is_header = message[:1] == [START] and MESSAGE not in message and text_of(message[1:]).startswith("assistant")
    if is_header or CHANNEL in message:
        return message
    return [] if ended and not text_of(rest).strip() else encode(_PLAIN_TEXT)


def _unfinished_text(text: str) -> list[int]:
    ended = max(text.rfind(marker) + len(marker) if marker in text else 0 for marker in _SPELLED_ENDS)
    rest = text[ended:]
    message = rest[max(rest.rfind("<|start|>"), 0) :]
    is_header = message.startswith("<|start|>assistant") and "<|message|>" not in message
    if is_header or "<|channel|>" in message:
        return encode(message)
    return [] if ended and not rest.strip() else encode(_PLAIN_TEXT)


def _behind_last(tokens: Sequence[int], markers: Collection[int]) -> int:
    """The index behind the last of the markers, or 0."""
    return next((index for index in range(len(tokens), 0, -1) if tokens[index - 1] in markers), 0)
