"""Where a prompt that nobody framed leaves off, so that what the model writes next is read as what it is.

A raw prompt may be plain text, or a Harmony conversation that breaks off anywhere, its markers special tokens or
spelled in characters. Plain text goes on as an answer does: it is shown until a marker says otherwise. Inside analysis
nothing is shown. Token ids in, token ids out; knows no API.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from llm_server.harmony.encoding import CALL, CHANNEL, END, MESSAGE, RETURN, START, bytes_of, encode

_PLAIN_TEXT: Final = "<|channel|>final<|message|>"
"""What plain text is taken to stand behind. Spelled, so that the parser heeds markers that are."""

_ASSISTANT: Final = b"assistant"
_SPELLED_START: Final = b"<|start|>"
_SPELLED_ENDS: Final = (b"<|end|>", b"<|return|>", b"<|call|>")


def unfinished(prompt: Sequence[int]) -> list[int]:
    """What to read first, to be in the state in which the model goes on: see `HarmonyParser.resume`.

    In a message that special tokens begin, a marker that is spelled is text. Where they begin none, as in a text with a
    token in front of it, spelled ones count.
    """
    ended = _behind_last(prompt, (END, RETURN, CALL))
    rest = prompt[ended:]
    message = list(rest[max(_behind_last(rest, (START,)) - 1, 0) :])
    body = message.index(MESSAGE) if MESSAGE in message else None
    is_read = message[:1] == [START] and _is_to_be_read(bytes_of(message[1:body]), has_body=body is not None)
    return message if is_read or CHANNEL in message else _unfinished_spelled(prompt)


def _unfinished_spelled(prompt: Sequence[int]) -> list[int]:
    """Cut, and not written and encoded anew: the encoding takes minutes for a long run of one character."""
    text = bytes_of(prompt)
    ended = max(text.rfind(marker) + len(marker) if marker in text else 0 for marker in _SPELLED_ENDS)
    rest = text[ended:]
    message = rest[max(rest.rfind(_SPELLED_START), 0) :]
    role, body, _ = message.removeprefix(_SPELLED_START).partition(b"<|message|>")
    is_read = message.startswith(_SPELLED_START) and _is_to_be_read(role, has_body=bool(body))
    if is_read or b"<|channel|>" in message:
        return _last_bytes(prompt, len(message))
    if ended and _SPELLED_START.startswith(rest.strip()):
        return encode(rest.strip().decode())
    return encode(_PLAIN_TEXT)


def _is_to_be_read(role: bytes, *, has_body: bool) -> bool:
    """Whether the parser has to read a header that names no channel.

    It does if the header is the assistant's, or breaks off before it says of whom it is. With a body behind it, it does
    if its role is that of a channel whose marker was lost.
    """
    return b"analysis" in role if has_body else role.startswith(_ASSISTANT) or _ASSISTANT.startswith(role)


def _last_bytes(tokens: Sequence[int], count: int) -> list[int]:
    """The tokens that make up so many bytes at the end; of the first one, what belongs to them, encoded anew."""
    first = len(tokens)
    while count > 0:
        first -= 1
        count -= len(part := bytes_of(tokens[first : first + 1]))
    return [*encode(part[-count:].decode(errors="replace")), *tokens[first + 1 :]] if count else list(tokens[first:])


def _behind_last(tokens: Sequence[int], markers: Collection[int]) -> int:
    """The index behind the last of the markers, or 0."""
    return next((index for index in range(len(tokens), 0, -1) if tokens[index - 1] in markers), 0)
