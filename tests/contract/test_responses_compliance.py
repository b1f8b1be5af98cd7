"""The cases of the Open Responses compliance suite, as far as a text model can pass them, and its form of a response.

Source: github.com/openresponses/openresponses, `src/lib/compliance-tests.ts` and `schema/` (version 2026-04-24). The
cases of the WebSocket are in `test_responses_websocket.py`. Not here: `image-input`, which a text model refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from fastapi import FastAPI

from clients import application, async_client
from fakes import ScriptedEngine, reply, tool_call
from llm_server.engine.types import Submit
from llm_server.harmony.encoding import harmony_encoding
from responses_client import kinds, post, streamed, whole

NULL = type(None)
NUMBER = (int, float)

RESOURCE: Mapping[str, Any] = {
    "id": str,
    "object": str,
    "created_at": int,
    "completed_at": (int, NULL),
    "status": str,
    "incomplete_details": (dict, NULL),
    "model": str,
    "previous_response_id": (str, NULL),
    "instructions": (str, NULL),
    "output": list,
    "error": (dict, NULL),
    "tools": list,
    "tool_choice": (str, dict),
    "truncation": str,
    "parallel_tool_calls": bool,
    "text": dict,
    "top_p": NUMBER,
    "presence_penalty": NUMBER,
    "frequency_penalty": NUMBER,
    "top_logprobs": int,
    "temperature": NUMBER,
    "reasoning": (dict, NULL),
    "usage": (dict, NULL),
    "max_output_tokens": (int, NULL),
    "max_tool_calls": (int, NULL),
    "store": bool,
    "background": bool,
    "service_tier": str,
    "metadata": dict,
    "safety_identifier": (str, NULL),
    "prompt_cache_key": (str, NULL),
}
"""Every key of a `ResponseResource`; none is optional."""

ITEMS: Mapping[str, Mapping[str, Any]] = {
    "message": {"id": str, "status": str, "role": str, "content": list},
    "function_call": {"id": str, "call_id": str, "name": str, "arguments": str, "status": str},
    "reasoning": {"id": str, "summary": list},
    "compaction": {"id": str, "encrypted_content": str},
}
USAGE: Mapping[str, Any] = {
    "input_tokens": int,
    "output_tokens": int,
    "total_tokens": int,
    "input_tokens_details": dict,
    "output_tokens_details": dict,
}
FUNCTION: Mapping[str, Any] = {
    "type": str,
    "name": str,
    "description": (str, NULL),
    "parameters": (dict, NULL),
    "strict": (bool, NULL),
}
WEATHER: dict[str, Any] = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the current weather for a location",
    "parameters": {
        "type": "object",
        "properties": {"location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"}},
        "required": ["location"],
    },
}


def has(value: Any, fields: Mapping[str, Any]) -> None:
    wrong = {name for name, kind in fields.items() if not isinstance(value.get(name, ...), kind)}
    assert not wrong


def check_resource(response: Any) -> None:
    has(response, RESOURCE)
    for item in response["output"]:
        has(item, ITEMS[item["type"]])
    for tool in response["tools"]:
        has(tool, FUNCTION)
    if response["usage"]:
        has(response["usage"], USAGE)


def said(role: str, content: Any, **fields: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": content, **fields}


CASES: dict[str, dict[str, Any]] = {
    "basic-response": {"input": [said("user", "Say hello in exactly 3 words.")]},
    "assistant-phase": {
        "input": [
            said("assistant", "I should answer with the saved number.", phase="commentary"),
            said("assistant", "The number is four.", phase="final_answer"),
            said("user", "Repeat only the number."),
        ]
    },
    "system-prompt": {
        "input": [said("system", "You are a pirate. Always respond in pirate speak."), said("user", "Say hello.")]
    },
    "multi-turn": {
        "input": [
            said("user", "My name is Alice."),
            said("assistant", "Hello Alice! Nice to meet you. How can I help you today?"),
            said("user", "What is my name?"),
        ]
    },
    "streaming-response": {"input": [said("user", "Count from 1 to 5.")]},
}


def answering(script: list[int] | None = None) -> tuple[ScriptedEngine, FastAPI]:
    engine = ScriptedEngine(script or reply("Hm.", "Hello there, friend!"))
    return engine, application(engine)


def prompt(submission: Submit) -> str:
    return str(harmony_encoding().decode(submission.prompt))


@pytest.mark.parametrize("case", CASES)
async def test_a_completed_response_with_output(case: str) -> None:
    engine, app = answering()
    answer = await whole(app, **CASES[case])
    check_resource(answer)
    assert answer["status"] == "completed"
    assert answer["output"]
    seen = prompt(engine.submissions[0])
    assert all(message["content"] in seen for message in CASES[case]["input"])
    check_resource((await streamed(app, **CASES[case]))[-1]["response"])


async def test_response_output_phase_schema() -> None:
    _, app = answering(tool_call("get_weather", '{"location":"Oslo"}', preamble="I am checking the answer."))
    preamble = await whole(app, input="Hi", tools=[WEATHER])
    assert "commentary" in [item.get("phase") for item in preamble["output"]]
    _, app = answering()
    assert "final_answer" in [item.get("phase") for item in (await whole(app, input="Hi"))["output"]]


async def test_tool_calling() -> None:
    _, app = answering(tool_call("get_weather", '{"location":"San Francisco, CA"}'))
    asked: dict[str, Any] = {
        "input": [said("user", "What's the weather like in San Francisco?")],
        "tools": [WEATHER],
    }
    answer = await whole(app, **asked)
    check_resource(answer)
    assert "function_call" in [item["type"] for item in answer["output"]]
    events = await streamed(app, **asked)
    assert {"function_call_arguments.delta", "function_call_arguments.done"} <= set(kinds(events))
    for kind in ("response.output_item.added", "response.output_item.done"):
        assert "function_call" in [event["item"]["type"] for event in events if event["type"] == kind]


CONVERSATION = [
    said("user", "We agreed to launch on Tuesday and notify support first."),
    said("assistant", "Understood. The launch is Tuesday, with support notified beforehand."),
]


async def test_compact_response() -> None:
    _, app = answering()
    response = await post(app, "/v1/responses/compact", input=CONVERSATION, prompt_cache_key="a-key")
    assert response.status_code == 200, response.text
    compacted = response.json()
    has(compacted, {"id": str, "object": str, "created_at": int, "output": list, "usage": dict})
    assert compacted["object"] == "response.compaction"
    assert [item["type"] for item in compacted["output"]] == ["compaction"]
    has(compacted["output"][0], ITEMS["compaction"])
    has(compacted["usage"], USAGE)


async def test_compact_missing_model() -> None:
    _, app = answering()
    async with async_client(app) as client:
        response = await client.post("/v1/responses/compact", json={"input": CONVERSATION})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "model"


async def test_compact_new_chain() -> None:
    engine, app = answering()
    compacted = (await post(app, "/v1/responses/compact", input=CONVERSATION)).json()
    asked = [*compacted["output"], said("user", "Continue from here. Reply with exactly: compacted")]
    for answer in (await whole(app, input=asked, store=False), (await streamed(app, input=asked))[-1]["response"]):
        check_resource(answer)
        assert answer["status"] == "completed"
    assert "Hello there, friend!" in prompt(engine.submissions[1])


@pytest.mark.parametrize("value", ["auto", "required"])
async def test_allowed_tools_are_a_hard_limit(value: str) -> None:
    """What the specification demands of `allowed_tools`: told of to the model, and out of its reach."""
    other = {**WEATHER, "name": "send_email"}
    choice = {"type": "allowed_tools", "mode": value, "tools": [{"type": "function", "name": "get_weather"}]}
    engine, app = answering(tool_call("get_weather", '{"location":"Oslo"}'))
    await whole(app, input="Hi", tools=[WEATHER, other], tool_choice=choice)
    assert "send_email" in prompt(engine.submissions[0])
    assert "to=functions.get_weather" in engine.submissions[0].grammar
    assert "to=functions.send_email" not in engine.submissions[0].grammar


async def test_previous_response_id_is_input_then_output_then_input() -> None:
    engine, app = answering()
    first = await whole(app, input="First question.")
    await whole(app, input="Second question.", previous_response_id=first["id"])
    seen = prompt(engine.submissions[1])
    places = [seen.index(text) for text in ("First question.", "Hello there, friend!", "Second question.")]
    assert places == sorted(places)
