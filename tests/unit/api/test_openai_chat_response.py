"""Events as chunks and as whole answers, in OpenAI's shapes."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from llm_server.api.http import JSON
from llm_server.api.openai import LOWEST_LOGPROB
from llm_server.api.openai_chat.response import PADDED_TO, ChunkWriter, Envelope, completion
from llm_server.events import (
    Alternative,
    BlockDelta,
    BlockStart,
    BlockStop,
    Event,
    Finish,
    TokenLogprob,
    Usage,
    fold,
)

USAGE = Usage(prompt=10, cached=4, completion=7, reasoning=3, stored=5)

REASONING = (BlockStart(0, "reasoning"), BlockStop(0, 3))
TEXT = (BlockStart(1, "text"), BlockDelta(1, "Hel"), BlockDelta(1, "lo"), BlockStop(1, 4))
PREAMBLE = (BlockStart(1, "text", preamble=True), BlockDelta(1, "Wait."), BlockStop(1, 3))
CALL = (
    BlockStart(2, "tool_call", call_id="call_1", tool_name="f"),
    BlockDelta(2, '{"a"'),
    BlockDelta(2, ":1}"),
    BlockStop(2, 5),
)

ANSWERS: dict[str, tuple[Event, ...]] = {
    "text": (*REASONING, *TEXT, Finish("stop", USAGE)),
    "stop string": (*REASONING, *TEXT, Finish("stop_sequence", USAGE, "x")),
    "cut in text": (*REASONING, *TEXT, Finish("length", USAGE)),
    "cut in reasoning": (*REASONING, Finish("length", USAGE)),
    "call": (*REASONING, *CALL, Finish("tool_calls", USAGE)),
    "preamble and call": (*REASONING, *PREAMBLE, *CALL, Finish("tool_calls", USAGE)),
    "preamble and text": (*PREAMBLE, *TEXT, Finish("stop", USAGE)),
    "empty text": (BlockStart(0, "text"), BlockStop(0), *TEXT, Finish("stop", USAGE)),
}


def chunks(events: tuple[Event, ...], envelope: Envelope) -> list[JSON]:
    writer = ChunkWriter(envelope, 1)
    return [*writer.start(), *(chunk for event in events for chunk in writer.feed(0, event)), *writer.end()]


def folded(parts: list[JSON]) -> JSON:
    """A streamed answer as a client puts it together."""
    message: JSON = {"role": None, "content": None, "refusal": None}
    finish_reason, logprobs = None, []
    for part in parts:
        for choice in part["choices"]:
            _add(message, choice["delta"])
            finish_reason = choice["finish_reason"] or finish_reason
            logprobs += (choice["logprobs"] or {"content": []})["content"]
    return {"message": message, "finish_reason": finish_reason, "logprobs": logprobs}


def _add(message: JSON, delta: JSON) -> None:
    for key, value in delta.items():
        match value:
            case str() if key != "id":
                message[key] = (message.get(key) or "") + value
            case dict():
                _add(message.setdefault(key, {}), value)
            case list():
                calls = message.setdefault(key, [])
                for item in value:
                    calls += [{}] if item["index"] == len(calls) else []
                    _add(calls[item["index"]], {name: part for name, part in item.items() if name != "index"})
            case _:
                message[key] = value


@pytest.mark.parametrize("functions", [False, True])
@pytest.mark.parametrize("name", ANSWERS)
def test_the_folded_stream_is_the_whole_answer(name: str, functions: bool) -> None:
    envelope = Envelope("m", "fp", functions=functions)
    (whole,) = completion(envelope, [fold(ANSWERS[name])])["choices"]
    stream = folded(chunks(ANSWERS[name], envelope))
    whole["message"].pop("annotations")
    whole["message"]["content"] = whole["message"]["content"] or ""
    for call in stream["message"].get("tool_calls", []):
        assert call.pop("type") == "function"
    for call in whole["message"].get("tool_calls", []):
        assert call.pop("type") == "function"
    assert stream["message"] == whole["message"]
    assert stream["finish_reason"] == whole["finish_reason"]


@pytest.mark.parametrize(
    ("name", "content", "calls", "reason"),
    [
        ("text", "Hello", 0, "stop"),
        ("stop string", "Hello", 0, "stop"),
        ("cut in text", "Hello", 0, "length"),
        ("cut in reasoning", "", 0, "length"),
        ("call", None, 1, "tool_calls"),
        ("preamble and call", "Wait.", 1, "tool_calls"),
        ("preamble and text", "Wait.\n\nHello", 0, "stop"),
        ("empty text", "Hello", 0, "stop"),
    ],
)
def test_whole_answers(name: str, content: str | None, calls: int, reason: str) -> None:
    body = completion(Envelope("m", "fp_1"), [fold(ANSWERS[name])])
    parsed = ChatCompletion.model_validate(body)
    (choice,) = parsed.choices
    assert choice.message.content == content
    assert len(choice.message.tool_calls or []) == calls
    assert choice.finish_reason == reason
    assert parsed.id.startswith("chatcmpl-")
    assert (parsed.object, parsed.model, parsed.system_fingerprint) == ("chat.completion", "m", "fp_1")


def test_the_shape_of_a_whole_answer() -> None:
    body = completion(Envelope("m", "fp_1", id="chatcmpl-1", created=5), [fold(ANSWERS["text"])])
    assert body == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 5,
        "model": "m",
        "service_tier": "default",
        "system_fingerprint": "fp_1",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello", "refusal": None, "annotations": []},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 10,
            "completion_tokens": 7,
            "total_tokens": 17,
            "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 5, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 3,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
    }


def deltas(name: str, **options: Any) -> list[JSON]:
    parts = chunks(ANSWERS[name], Envelope("m", "fp", **options))
    return [choice["delta"] for part in parts for choice in part["choices"]]


def test_a_text_stream_is_role_text_finish() -> None:
    assert deltas("text") == [
        {"role": "assistant", "content": "", "refusal": None},
        {"content": "Hel"},
        {"content": "lo"},
        {},
    ]


def test_a_calls_id_and_name_are_in_its_first_delta_only() -> None:
    assert deltas("call")[1:] == [
        {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]},
        {},
    ]


def test_a_deprecated_call() -> None:
    assert deltas("call", functions=True)[1:] == [
        {"function_call": {"name": "f", "arguments": ""}},
        {"function_call": {"arguments": '{"a"'}},
        {"function_call": {"arguments": ":1}"}},
        {},
    ]
    (choice,) = completion(Envelope("m", "fp", functions=True), [fold(ANSWERS["call"])])["choices"]
    assert choice["message"]["function_call"] == {"name": "f", "arguments": '{"a":1}'}
    assert choice["finish_reason"] == "function_call"


def test_a_second_call_has_the_next_index() -> None:
    second = (BlockStart(3, "tool_call", call_id="call_2", tool_name="g"), BlockDelta(3, "{}"), BlockStop(3))
    writer = ChunkWriter(Envelope("m", "fp"), 1)
    parts = [chunk for event in (*CALL, *second) for chunk in writer.feed(0, event)]
    assert [part["choices"][0]["delta"]["tool_calls"][0]["index"] for part in parts] == [0, 0, 0, 1, 1]


@pytest.mark.parametrize("name", ANSWERS)
def test_every_chunk_is_one_that_the_sdk_knows(name: str) -> None:
    parts = chunks(ANSWERS[name], Envelope("m", "fp", include_usage=True))
    parsed = [ChatCompletionChunk.model_validate(part) for part in parts]
    assert {(part.id, part.created, part.model, part.object) for part in parsed} == {
        (parsed[0].id, parsed[0].created, "m", "chat.completion.chunk")
    }
    assert parsed[-2].choices[0].finish_reason is not None
    assert all(part.choices[0].finish_reason is None for part in parsed[:-2])


def test_usage_is_the_last_chunk_without_choices_and_null_before() -> None:
    parts = chunks(ANSWERS["text"], Envelope("m", "fp", include_usage=True))
    assert parts[-1]["choices"] == []
    assert parts[-1]["usage"]["total_tokens"] == 17
    assert [part["usage"] for part in parts[:-1]] == [None] * (len(parts) - 1)


def test_without_the_option_no_chunk_speaks_of_usage() -> None:
    parts = chunks(ANSWERS["text"], Envelope("m", "fp"))
    assert not [part for part in parts if "usage" in part]
    assert parts[-1]["choices"][0]["finish_reason"] == "stop"


def test_several_choices_share_the_prompt() -> None:
    body = completion(Envelope("m", "fp"), [fold(ANSWERS["text"]), fold(ANSWERS["call"])])
    assert [choice["index"] for choice in body["choices"]] == [0, 1]
    assert body["usage"]["prompt_tokens"] == 10
    assert body["usage"]["completion_tokens"] == 14
    assert body["usage"]["completion_tokens_details"]["reasoning_tokens"] == 6


def test_several_streamed_choices_are_told_apart() -> None:
    writer = ChunkWriter(Envelope("m", "fp", include_usage=True), 2)
    assert [part["choices"][0]["index"] for part in writer.start()] == [0, 1]
    parts = [part for event in ANSWERS["text"] for index in (1, 0) for part in writer.feed(index, event)]
    assert [part["choices"][0]["index"] for part in parts] == [1, 0] * 3
    assert writer.end()[0]["usage"]["completion_tokens"] == 14


def test_logprobs_stand_beside_their_text() -> None:
    token = TokenLogprob(
        Alternative("Hi", b"Hi", -0.5), (Alternative("Hi", b"Hi", -0.5), Alternative("\ufffd", b"\xf0", -math.inf))
    )
    answer = (BlockStart(0, "text"), BlockDelta(0, "Hi", (token,)), BlockStop(0), Finish("stop"))
    expected = {
        "content": [
            {
                "token": "Hi",
                "logprob": -0.5,
                "bytes": [72, 105],
                "top_logprobs": [
                    {"token": "Hi", "logprob": -0.5, "bytes": [72, 105]},
                    {"token": "\ufffd", "logprob": LOWEST_LOGPROB, "bytes": [240]},
                ],
            }
        ],
        "refusal": None,
    }
    assert completion(Envelope("m", "fp"), [fold(answer)])["choices"][0]["logprobs"] == expected
    assert [part["choices"][0]["logprobs"] for part in chunks(answer, Envelope("m", "fp"))] == [None, expected, None]


def test_a_call_that_was_cut_off_is_none() -> None:
    cut = (CALL[0], CALL[1], BlockStop(2, 2, complete=False), Finish("length", USAGE))
    (choice,) = completion(Envelope("m", "fp"), [fold(cut)])["choices"]
    assert "tool_calls" not in choice["message"]
    assert choice["finish_reason"] == "length"


PATCH_CALL = (
    BlockStart(2, "tool_call", call_id="call_1", tool_name="patch"),
    BlockDelta(2, "*** Begin"),
    BlockDelta(2, " Patch"),
    BlockStop(2, 5),
)


def test_a_call_of_a_custom_tool_has_its_input() -> None:
    events = (*REASONING, *PATCH_CALL, *CALL, Finish("tool_calls", USAGE))
    envelope = Envelope("m", "fp", custom=frozenset({"patch"}))
    (whole,) = completion(envelope, [fold(events)])["choices"]
    patch, call = whole["message"]["tool_calls"]
    assert patch == {"id": "call_1", "type": "custom", "custom": {"name": "patch", "input": "*** Begin Patch"}}
    assert call["type"] == "function"
    streamed = folded(chunks(events, envelope))["message"]["tool_calls"][0]
    assert streamed == patch


def test_every_chunk_is_padded_to_a_common_size_if_asked_to() -> None:
    envelope = Envelope("m", "fp", include_usage=True, obfuscate=True)
    sent = chunks(ANSWERS["text"], envelope)
    assert {len(msgspec.json.encode(chunk)) % PADDED_TO for chunk in sent} == {0}
    assert len({chunk["obfuscation"] for chunk in sent if chunk["obfuscation"]}) > 1
    assert all("obfuscation" not in chunk for chunk in chunks(ANSWERS["text"], Envelope("m", "fp")))
