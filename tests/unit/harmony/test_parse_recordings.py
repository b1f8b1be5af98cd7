"""Every recorded stream, as it was and cut into tokens in every other way."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import pairwise

import pytest

from llm_server.harmony.encoding import token_bytes
from llm_server.harmony.recorded import Recording, encode_segments, parse_tokens
from recordings import Meaning, Recorded, load

STREAMS = load()
LAST_CUT = 30
"""Texts are cut after each of their first characters and before each of their last, up to this one."""

BYTE_TOKENS = {token_bytes(token)[0]: token for token in range(256)}
"""The vocabulary begins with all single bytes."""

MARKER = re.compile(r"(<\|\w+\|>)")


def meaning(recording: Recording) -> Meaning:
    blocks = recording.blocks
    return Meaning(
        "".join(block.text for block in blocks if block.kind == "text"),
        tuple((block.tool_name, block.text) for block in blocks if block.kind == "tool_call" and block.complete),
        recording.finish_reason,
        tuple(recording.undeclared_calls),
    )


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_a_recorded_stream_means_what_it_was_meant_to(stream: Recorded) -> None:
    recording = parse_tokens(encode_segments(stream.segments), stream.tools)
    assert meaning(recording) == stream.meaning


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_how_the_text_falls_into_tokens_makes_no_difference(stream: Recorded) -> None:
    whole = _without_sizes(parse_tokens(encode_segments(stream.segments), stream.tools))
    for tokens in {tuple(tokens) for tokens in _tokenisations(stream)}:
        assert _without_sizes(parse_tokens(tokens, stream.tools)) == whole


def test_raw_text_of_any_length_and_any_characters_can_be_encoded() -> None:
    raw = "<|channel|>final<|message|>" + "a" * 200_000 + "\ud800<|return|>"
    (block,) = parse_tokens(encode_segments([("special", raw)])).blocks
    assert block.text == "a" * 200_000 + "\N{REPLACEMENT CHARACTER}"


def _without_sizes(recording: Recording) -> tuple[object, ...]:
    """All of a parse but what depends on the number of tokens."""
    blocks = [(block.kind, block.preamble, block.tool_name, block.text, block.complete) for block in recording.blocks]
    kinds = [repair.kind for repair in recording.repairs]
    return blocks, recording.finish_reason, kinds, recording.undeclared_calls


def _tokenisations(stream: Recorded) -> Iterator[list[int]]:
    """One character per token, one byte per token, cut near their ends at every place, cut anywhere by chance."""
    parts = [part for kind, text in stream.segments for part in _parts(kind, text)]
    yield _encode(parts, list)
    yield [token for is_marker, text in parts for token in (_marker(text) if is_marker else _byte_tokens(text))]
    longest = max((len(text) for is_marker, text in parts if not is_marker), default=0)
    for cut in range(1, min(longest, LAST_CUT)):
        yield _encode(parts, partial(_cut_at_both_ends, cut))
    chance = random.Random(stream.name)
    for _ in range(3):
        yield _encode(parts, lambda text: _cut_at_random(text, chance))


def _parts(kind: str, text: str) -> Iterator[tuple[bool, str]]:
    pieces = MARKER.split(text) if kind == "special" else [text]
    yield from ((kind == "special" and MARKER.fullmatch(piece) is not None, piece) for piece in pieces if piece)


def _encode(parts: Sequence[tuple[bool, str]], cut: Callable[[str], Sequence[str]]) -> list[int]:
    return [
        token
        for is_marker, text in parts
        for piece in ([text] if is_marker else cut(text))
        for token in (_marker(piece) if is_marker else _ordinary(piece))
    ]


@cache
def _marker(text: str) -> list[int]:
    return encode_segments([("special", text)])


@cache
def _ordinary(text: str) -> list[int]:
    return encode_segments([("text", text)])


def _byte_tokens(text: str) -> list[int]:
    return [BYTE_TOKENS[byte] for byte in text.encode()]


def _cut_at_both_ends(cut: int, text: str) -> list[str]:
    middle = text[cut:-cut]
    return [text[:cut], middle, text[-cut:]] if middle else [text[:cut], text[cut:]]


def _cut_at_random(text: str, chance: random.Random) -> list[str]:
    cuts = sorted(chance.sample(range(len(text) + 1), min(len(text), 1 + chance.randrange(8))))
    return [text[begin:end] for begin, end in pairwise([0, *cuts, len(text)])]
