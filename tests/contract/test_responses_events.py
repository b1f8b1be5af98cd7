"""The Responses API's events and whole answers: in the API's order, numbered, and the same thing twice.

Every event and every response is judged by the official SDK's types, with unknown fields forbidden.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import ResponseStreamEvent

from clients import application, async_client
from fakes import Fail, Hang, Script, ScriptedEngine, Wait, message, next_message, reply, text_tokens, tool_call
from llm_server.errors import BadRequest, GenerationFailed, Overloaded, ServerError
from llm_server.harmony.encoding import CALL, CHANNEL, END, MESSAGE, RETURN
from responses_client import MODEL, PATH, WEATHER, events_of, kinds, post, streamed, whole
from sdk_types import check

ANALYSIS = "The zebra greets me, so I greet back."
FINAL = "Fine, thanks! 😀 Ünïcödé."
PATCH: dict[str, Any] = {"type": "custom", "name": "apply_patch", "description": "Edits files"}
AGENTS: dict[str, Any] = {
    "type": "namespace",
    "name": "agents",
    "description": "Tools for agents",
    "tools": [{"type": "function", "name": "close", "parameters": {"type": "object"}}, PATCH],
}
TOOLS = [WEATHER, PATCH, AGENTS]


def freeform(name: str, text: str, end: int = CALL) -> list[int]:
    return [CHANNEL, *text_tokens(f"commentary to=functions.{name}"), MESSAGE, *text_tokens(text), end]


SCRIPTS: dict[str, list[int]] = {
    "text": reply(ANALYSIS, FINAL),
    "no analysis": message("final", FINAL, RETURN),
    "empty": reply(ANALYSIS, ""),
    "tool call": tool_call("get_weather", '{"city":"Paris"}', analysis=ANALYSIS),
    "preamble and tool call": tool_call("get_weather", '{"city":"Zürich"}', analysis=ANALYSIS, preamble="Let me look."),
    "two calls": [
        *message("commentary", "{}", END, "functions.get_weather"),
        *next_message(),
        *message("commentary", '{"city":"Rome"}', CALL, "functions.get_weather"),
    ],
    "custom call": [*message("analysis", ANALYSIS, END), *next_message(), *freeform("apply_patch", "+ {\n ")],
    "namespace": message("commentary", '{"a": 1}', CALL, "functions.agents_close"),
    "custom call of a namespace": freeform("agents_apply_patch", "x"),
    "cut off in analysis": reply(ANALYSIS, FINAL)[:5],
    "cut off in the answer": reply(ANALYSIS, FINAL)[:-3],
    "cut off in a call": tool_call("get_weather", '{"city":"Paris"}', analysis=ANALYSIS)[:-4],
    "cut off in a custom call": freeform("apply_patch", "*** Begin Patch\n*** Delete File: x\n")[:-3],
}
CUT = [name for name in SCRIPTS if name.startswith("cut off")]

MESSAGE_EVENTS = ["content_part.added", "output_text.delta", "output_text.done", "content_part.done"]
CALL_EVENTS = ["function_call_arguments.delta", "function_call_arguments.done"]
CUSTOM_EVENTS = ["custom_tool_call_input.delta", "custom_tool_call_input.done"]


def merged(names: list[str]) -> list[str]:
    """The names with runs of deltas as one."""
    return [name for at, name in enumerate(names) if not (name.endswith(".delta") and names[at - 1] == name)]


def item(*names: str) -> list[str]:
    return ["output_item.added", *names, "output_item.done"]


@pytest.mark.parametrize(
    ("name", "between", "last"),
    [
        ("text", [*item(), *item(*MESSAGE_EVENTS)], "completed"),
        ("no analysis", item(*MESSAGE_EVENTS), "completed"),
        ("tool call", [*item(), *item(*CALL_EVENTS)], "completed"),
        ("preamble and tool call", [*item(), *item(*MESSAGE_EVENTS), *item(*CALL_EVENTS)], "completed"),
        ("two calls", [*item(*CALL_EVENTS), *item(*CALL_EVENTS)], "completed"),
        ("custom call", [*item(), *item(*CUSTOM_EVENTS)], "completed"),
        ("namespace", item(*CALL_EVENTS), "completed"),
        ("custom call of a namespace", item(*CUSTOM_EVENTS), "completed"),
        ("cut off in analysis", item(), "incomplete"),
        ("cut off in the answer", [*item(), *item(*MESSAGE_EVENTS)], "incomplete"),
        ("cut off in a call", [*item(), *item(CALL_EVENTS[0])], "incomplete"),
        ("cut off in a custom call", ["output_item.added", CUSTOM_EVENTS[0]], "incomplete"),
    ],
)
async def test_events_come_in_the_order_of_the_api(name: str, between: list[str], last: str) -> None:
    events = await streamed(application(ScriptedEngine(SCRIPTS[name])), input="Hi", tools=TOOLS)
    assert merged(kinds(events)) == ["created", "in_progress", *between, last]


MADE_ANEW = ("id", "call_id", "item_id", "created_at", "completed_at")


def unnamed(value: Any) -> Any:
    """The value without ids and times."""
    match value:
        case dict():
            return {key: unnamed(each) for key, each in value.items() if key not in MADE_ANEW}
        case list():
            return [unnamed(each) for each in value]
    return value


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("include", [[], ["reasoning.encrypted_content"]])
async def test_the_whole_answer_is_the_fold_of_the_stream(name: str, include: list[str]) -> None:
    def app() -> Any:
        return application(ScriptedEngine(SCRIPTS[name], cached_tokens=3))

    asked: dict[str, Any] = {"input": "Hi", "tools": TOOLS, "include": include}
    answer, events = await whole(app(), **asked), await streamed(app(), **asked)
    last = events[-1]["response"]
    seals = [item.pop("encrypted_content", None) for each in (answer, last) for item in each["output"]]
    assert any(seals) == bool(include and "reasoning" in [item["type"] for item in answer["output"]])
    assert unnamed(last) == unnamed(answer)
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    for each in done:
        each.pop("encrypted_content", None)
    assert done == last["output"]
    assert last["usage"]["output_tokens"] == len(SCRIPTS[name])
    assert last["usage"]["input_tokens_details"]["cached_tokens"] == 3


@pytest.mark.parametrize("name", SCRIPTS)
async def test_deltas_add_up_to_what_is_done(name: str) -> None:
    events = await streamed(application(ScriptedEngine(SCRIPTS[name])), input="Hi", tools=TOOLS)
    added = {}
    for event in events:
        match event["type"].removeprefix("response."):
            case "output_item.added":
                added[event["item"]["id"]] = ""
            case "output_text.delta" | "function_call_arguments.delta" | "custom_tool_call_input.delta":
                added[event["item_id"]] += event["delta"]
            case "output_text.done" | "function_call_arguments.done" | "custom_tool_call_input.done":
                assert event.get("text", event.get("arguments", event.get("input"))) == added[event["item_id"]]
    for position, each in enumerate(events[-1]["response"]["output"]):
        text = each["content"][0]["text"] if each["type"] == "message" else each.get("arguments", each.get("input", ""))
        assert text == added[each["id"]]
        assert {event["output_index"] for event in events if event.get("item_id") == each["id"]} <= {position}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tool call", {"type": "function_call", "name": "get_weather", "arguments": '{"city":"Paris"}'}),
        ("custom call", {"type": "custom_tool_call", "name": "apply_patch", "input": "+ {\n "}),
        ("namespace", {"type": "function_call", "name": "close", "namespace": "agents", "arguments": '{"a": 1}'}),
        (
            "custom call of a namespace",
            {"type": "custom_tool_call", "name": "apply_patch", "namespace": "agents", "input": "x"},
        ),
    ],
)
async def test_calls_come_back_as_their_client_knows_the_tool(name: str, expected: dict[str, Any]) -> None:
    answer = await whole(application(ScriptedEngine(SCRIPTS[name])), input="Hi", tools=TOOLS)
    call = answer["output"][-1]
    assert call["call_id"].startswith("call_")
    assert {key: call[key] for key in call if key not in ("id", "call_id", "status")} == expected
    assert call.get("status", "completed") == "completed"


@pytest.mark.parametrize("name", CUT)
async def test_what_the_limit_cut_off_says_so(name: str) -> None:
    answer = await whole(application(ScriptedEngine(SCRIPTS[name])), input="Hi", tools=TOOLS)
    assert (answer["status"], answer["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert answer["completed_at"] is None
    states = [each.get("status") for each in answer["output"] if each["type"] != "reasoning"]
    assert states == {"cut off in analysis": [], "cut off in a custom call": []}.get(name, ["incomplete"])


async def test_a_preamble_is_commentary_and_an_answer_is_final() -> None:
    preamble = await whole(application(ScriptedEngine(SCRIPTS["preamble and tool call"])), input="Hi", tools=TOOLS)
    assert [each.get("phase") for each in preamble["output"]] == [None, "commentary", None]
    answer = await whole(application(ScriptedEngine(SCRIPTS["text"])), input="Hi")
    assert [each.get("phase") for each in answer["output"]] == [None, "final_answer"]


async def test_every_key_is_there_and_repeats_what_was_asked() -> None:
    asked: dict[str, Any] = {
        "input": "Hi",
        "instructions": "Be brief.",
        "max_output_tokens": 500,
        "max_tool_calls": 3,
        "metadata": {"a": "b"},
        "parallel_tool_calls": False,
        "presence_penalty": 0.5,
        "frequency_penalty": -0.5,
        "prompt_cache_key": "key",
        "reasoning": {"effort": "xhigh", "summary": "detailed"},
        "safety_identifier": "me",
        "service_tier": "flex",
        "store": False,
        "temperature": 0.5,
        "text": {"verbosity": "low", "format": {"type": "json_object"}},
        "tool_choice": {
            "type": "allowed_tools",
            "mode": "auto",
            "tools": [{"type": "function", "name": "get_weather"}],
        },
        "tools": [WEATHER],
        "top_logprobs": 2,
        "top_p": 0.5,
        "truncation": "auto",
        "user": "you",
        "background": False,
    }
    answer = await whole(application(ScriptedEngine(reply("Hm.", "{}"))), **asked)
    told = {key: answer[key] for key in asked if key != "input"}
    assert told == {
        **{key: value for key, value in asked.items() if key != "input"},
        "reasoning": {"effort": "high", "summary": None},
        "service_tier": "default",
        "tools": [{**WEATHER, "strict": None}],
    }


async def test_a_bare_request_has_every_key_with_its_default() -> None:
    answer = await whole(application(ScriptedEngine(SCRIPTS["text"])), input="Hi")
    empty = {key for key, value in answer.items() if value is None}
    assert empty == {
        "error",
        "incomplete_details",
        "instructions",
        "max_output_tokens",
        "max_tool_calls",
        "previous_response_id",
        "prompt_cache_key",
        "safety_identifier",
        "user",
    }
    assert answer["reasoning"] == {"effort": "medium", "summary": None}
    assert answer["text"] == {"format": {"type": "text"}, "verbosity": "medium"}
    assert (answer["temperature"], answer["top_p"], answer["top_logprobs"]) == (1.0, 1.0, 0)
    assert (answer["tool_choice"], answer["tools"], answer["truncation"]) == ("auto", [], "disabled")
    assert (answer["store"], answer["background"], answer["metadata"]) == (True, False, {})


async def test_logprobs_are_those_of_the_answer() -> None:
    asked: dict[str, Any] = {"input": "Hi", "include": ["message.output_text.logprobs"], "top_logprobs": 2}
    app = application(ScriptedEngine(SCRIPTS["text"]))
    answer, events = await whole(app, **asked), await streamed(app, **asked)
    part = answer["output"][-1]["content"][0]
    assert b"".join(bytes(token["bytes"]) for token in part["logprobs"]).decode() == FINAL
    assert {len(token["top_logprobs"]) for token in part["logprobs"]} == {2}
    deltas = [event for event in events if event["type"] == "response.output_text.delta"]
    assert sum(len(event["logprobs"]) for event in deltas) == len(part["logprobs"])


# Failures


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (GenerationFailed("It can not go on."), "server_error"),
        (Overloaded("Too much."), "rate_limit_exceeded"),
        (BadRequest("It is wrong."), "invalid_prompt"),
        (ServerError("Something else."), "server_error"),
    ],
)
@pytest.mark.parametrize("at", [0, 5, 20])
async def test_a_failure_after_the_first_byte_is_a_failed_response(error: ServerError, code: str, at: int) -> None:
    script: Script = [*reply(ANALYSIS, FINAL)[:at], Fail(error)]
    events = await streamed(application(ScriptedEngine(script)), input="Hi")
    assert kinds(events)[0] == "created"
    assert kinds(events)[-1] == "failed"
    failed = events[-1]["response"]
    assert (failed["status"], failed["error"]) == ("failed", {"code": code, "message": error.message})
    assert failed["id"] == events[0]["response"]["id"]


async def test_an_unforeseen_failure_says_nothing_of_itself(caplog: pytest.LogCaptureFixture) -> None:
    wrong: Any = ValueError("zebra")
    events = await streamed(application(ScriptedEngine([*reply("Hm.", "Hi")[:3], Fail(wrong)])), input="Hi")
    assert kinds(events)[-1] == "failed"
    assert "zebra" not in json.dumps(events)
    assert "unexpected" in caplog.text


async def test_a_failed_response_is_not_kept() -> None:
    app = application(ScriptedEngine([*reply("Hm.", "Hi")[:3], Fail()]))
    failed = (await streamed(app, input="Hi"))[-1]["response"]
    async with async_client(app) as client:
        assert (await client.get(f"{PATH}/{failed['id']}")).status_code == 404
        asked = {"model": MODEL, "input": "And?", "previous_response_id": failed["id"]}
        assert (await client.post(PATH, json=asked)).json()["error"]["code"] == "previous_response_not_found"


async def test_a_refusal_before_the_first_byte_is_a_plain_error() -> None:
    app = application(ScriptedEngine(refusal=Overloaded("The queue is full.", retry_after=3)))
    response = await post(app, input="Hi", stream=True)
    assert response.status_code == 429
    assert response.headers["retry-after"] == "3"
    assert response.json()["error"]["code"] == "rate_limit_exceeded"


# Keep-alive


class Receiver:
    """A client's end of one streamed request, without a network."""

    def __init__(self) -> None:
        self.received = b""
        self.news = asyncio.Condition()
        body = json.dumps({"model": MODEL, "input": "Hi", "stream": True}).encode()
        self._messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive(self) -> Any:
        if self._messages:
            return self._messages.pop()
        return await asyncio.Event().wait()

    async def send(self, message: Any) -> None:
        async with self.news:
            self.received += message.get("body", b"")
            self.news.notify_all()

    async def has(self, name: bytes, times: int = 1) -> None:
        async with self.news:
            await self.news.wait_for(lambda: self.received.count(b"event: response." + name + b"\n") >= times)


def asgi_scope() -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": PATH,
        "raw_path": PATH.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }


async def test_silence_is_filled_with_in_progress_events() -> None:
    """Numbered on from the others, so that clients which count events know that it goes on."""
    goes_on = asyncio.Event()
    script: Script = [*reply("Hm.", "Hi")[:3], Wait(goes_on), *reply("Hm.", "Hi")[3:]]
    client = Receiver()
    app = application(ScriptedEngine(script), ping_interval=0.01)
    serving = asyncio.create_task(app(asgi_scope(), client.receive, client.send))
    await client.has(b"in_progress", 4)
    goes_on.set()
    await serving
    events = events_of(client.received.decode())
    assert kinds(events)[-1] == "completed"
    assert kinds(events).count("in_progress") > 3


async def test_a_stream_that_the_server_ends_says_so() -> None:
    client = Receiver()
    app = application(ScriptedEngine([*reply("Hm.", "Hi")[:3], Hang()]))
    serving = asyncio.create_task(app(asgi_scope(), client.receive, client.send))
    await client.has(b"output_item.added")
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    events = events_of(client.received.decode())
    assert kinds(events)[-1] == "failed"
    assert "stopping" in events[-1]["response"]["error"]["message"]


async def test_a_client_that_leaves_frees_its_slot_and_leaves_nothing() -> None:
    engine = ScriptedEngine([*reply("Hm.", "Hi")[:3], Hang()])
    app = application(engine)
    async with async_client(app) as client:
        asked = asyncio.create_task(client.post(PATH, json={"model": MODEL, "input": "Hi"}))
        await engine.hanging.wait()
        asked.cancel()
        with pytest.raises((asyncio.CancelledError, httpx2.HTTPError)):
            await asked
    await engine.closing.wait()
    assert engine.running == 0


# Any turn at all

stray = st.lists(
    st.sampled_from([CHANNEL, MESSAGE, END, CALL, RETURN])
    | st.sampled_from(text_tokens("final commentary {} to=functions.get_weather")),
    max_size=12,
)


@settings(max_examples=30)
@given(st.lists(st.sampled_from(sorted(SCRIPTS)).map(lambda name: SCRIPTS[name]) | stray, min_size=1, max_size=3))
def test_whatever_the_model_writes_the_events_are_the_apis(parts: list[list[int]]) -> None:
    script = [token for part in parts for token in part if token != RETURN]
    events = asyncio.run(streamed(application(ScriptedEngine([*script, RETURN])), input="Hi", tools=TOOLS))
    for event in events:
        check(ResponseStreamEvent, event)
    assert kinds(events)[-1] in ("completed", "incomplete")
