"""Which of several candidates is told, and how their tokens are named."""

from __future__ import annotations

import pytest

from llm_server.api.completions.response import ChunkWriter, Envelope, completion
from llm_server.events import (
    Alternative,
    BlockDelta,
    BlockStart,
    BlockStop,
    Completion,
    Event,
    Finish,
    TokenLogprob,
    Usage,
    fold,
)

ENVELOPE = Envelope("m", "fp", ["One"])


def token(text: str | bytes, logprob: float, *top: Alternative) -> TokenLogprob:
    raw = text if isinstance(text, bytes) else text.encode()
    return TokenLogprob(Alternative(raw.decode(errors="replace"), raw, logprob), top)


def text(*tokens: TokenLogprob, index: int = 0) -> list[Event]:
    deltas = [BlockDelta(index, each.chosen.token, (each,)) for each in tokens]
    return [BlockStart(index, "text"), *deltas, BlockStop(index)]


def answer(*tokens: TokenLogprob) -> Completion:
    return fold([*text(*tokens), Finish("stop", Usage(prompt=3, completion=len(tokens)))])


LIKELY = answer(token("a", -0.1), token("b", -0.3))
SHORT = answer(token("c", -0.25))
UNLIKELY = answer(token("d", -0.1), token("e", float("-inf")))
EMPTY = answer()


@pytest.mark.parametrize(
    ("candidates", "count", "chosen"),
    [
        ([UNLIKELY, SHORT, LIKELY], 1, ["ab"]),
        ([EMPTY, UNLIKELY, SHORT, LIKELY], 3, ["ab", "c", "de"]),
        ([EMPTY, UNLIKELY], 2, ["", "de"]),
    ],
)
def test_the_best_are_those_with_the_likeliest_tokens(
    candidates: list[Completion], count: int, chosen: list[str]
) -> None:
    envelope = Envelope("m", "fp", ["One"], count)
    told = completion(envelope, [candidates])
    assert [choice["text"] for choice in told["choices"]] == chosen
    assert told["usage"]["completion_tokens"] == sum(each.finish.usage.completion for each in candidates)
    assert told["usage"]["prompt_tokens"] == 3


def test_tokens_have_their_place_in_prompt_and_answer() -> None:
    tokens = token(" é", -0.5), token(b"\xf0\x9f", -0.5), token(b"\xab\xa8", -1), token("!", float("-inf"))
    (choice,) = completion(Envelope("m", "fp", ["Öne"], logprobs=0), [[answer(*tokens)]])["choices"]
    assert choice["logprobs"] == {
        "tokens": [" é", "bytes:\\xf0\\x9f", "bytes:\\xab\\xa8", "!"],
        "token_logprobs": [-0.5, -0.5, -1, -9999.0],
        "top_logprobs": None,
        "text_offset": [3, 5, 5, 6],
    }


def test_the_chosen_token_is_among_the_likeliest() -> None:
    chosen = token("a", -2.0, Alternative("b", b"b", -0.5), Alternative("c", b"c", -1.0))
    (choice,) = completion(Envelope("m", "fp", ["One"], logprobs=2), [[answer(chosen)]])["choices"]
    assert choice["logprobs"]["top_logprobs"] == [{"a": -2.0, "c": -1.0, "b": -0.5}]


def test_what_is_no_text_is_not_shown() -> None:
    call: list[Event] = [BlockStart(1, "tool_call", call_id="c", tool_name="f"), BlockDelta(1, "{}"), BlockStop(1)]
    events: list[Event] = [
        BlockStart(0, "reasoning"),
        BlockStop(0, 3),
        *call,
        *text(token("a", -1), index=2),
        Finish("tool_calls"),
    ]
    assert completion(ENVELOPE, [[fold(events)]])["choices"][0]["text"] == "a"
    writer = ChunkWriter(ENVELOPE)
    chunks = [chunk for event in events for chunk in writer.feed(0, event)]
    assert [chunk["choices"][0]["text"] for chunk in chunks] == ["a", ""]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
