"""The Responses API over a WebSocket: Codex's sequence, the Open Responses cases, and what a client may do wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from typing import Any

import pytest
from fastapi import FastAPI
from openai.types.responses.responses_server_event import ResponsesServerEvent

from clients import application, async_client
from exposed_metrics import Exposed
from fakes import LONG, Fail, Hang, Script, ScriptedEngine, Wait, reply, tool_call
from llm_server.api.stopping import announce_stopping
from llm_server.engine.types import Submit
from llm_server.errors import GenerationFailed, Overloaded
from llm_server.harmony.encoding import harmony_encoding
from recorded_clients import recordings
from responses_client import MODEL, PATH, WEATHER, get, kinds, post
from sdk_types import check

FINAL = ("response.completed", "response.incomplete", "response.failed", "error")
HEADERS = {"host": "localhost", "openai-beta": "responses_websockets=2026-02-06"}


class Socket:
    """A client's end of a connection, without a network."""

    def __init__(self, app: FastAPI, headers: dict[str, str]) -> None:
        self.sent: asyncio.Queue[Any] = asyncio.Queue()
        self.received: asyncio.Queue[Any] = asyncio.Queue()
        scope: dict[str, Any] = {
            "type": "websocket",
            "asgi": {"version": "3.0"},
            "scheme": "ws",
            "path": PATH,
            "raw_path": PATH.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "subprotocols": [],
        }
        self.stopping = announce_stopping(scope)
        self.sent.put_nowait({"type": "websocket.connect"})
        self.serving = asyncio.create_task(app(scope, self.sent.get, self.received.put))

    def send_text(self, text: str) -> None:
        self.sent.put_nowait({"type": "websocket.receive", "text": text})

    def send(self, **body: Any) -> None:
        self.send_text(json.dumps({"type": "response.create", "model": MODEL, **body}))

    def leave(self, code: int = 1001) -> None:
        self.sent.put_nowait({"type": "websocket.disconnect", "code": code})

    async def events(self, first: int = 0) -> list[dict[str, Any]]:
        """All that comes up to the end of one turn, in the order of its numbers."""
        events: list[dict[str, Any]] = []
        while not events or events[-1]["type"] not in FINAL:
            message = await self.received.get()
            assert message["type"] == "websocket.send", message
            events.append(json.loads(message["text"]))
            check(ResponsesServerEvent, events[-1])
        if events[0]["type"] != "error":
            assert [event["sequence_number"] for event in events] == list(range(first, first + len(events)))
        return events

    async def turn(self, **body: Any) -> dict[str, Any]:
        self.send(**body)
        last = (await self.events())[-1]
        response: dict[str, Any] = last["response"]
        return response

    async def error(self, **body: Any) -> dict[str, Any]:
        self.send(**body)
        [event] = await self.events()
        assert event["type"] == "error"
        return event


@asynccontextmanager
async def connected(app: FastAPI, **headers: str) -> AsyncIterator[Socket]:
    socket = Socket(app, {**HEADERS, **headers})
    try:
        assert (await socket.received.get())["type"] == "websocket.accept"
        yield socket
    finally:
        socket.leave()
        await socket.serving


def prompt(submission: Submit) -> str:
    return str(harmony_encoding().decode(submission.prompt))


def text(response: dict[str, Any]) -> str:
    return "".join(part["text"] for item in response["output"] for part in item.get("content", ()))


def echo(submission: Submit) -> Script:
    """Says how many messages of the user it has seen."""
    return reply("Hm.", f"You said {prompt(submission).count('<|start|>user')} things.")


async def test_a_response_comes_as_the_same_events() -> None:
    async with connected(application(ScriptedEngine(reply("Hm.", "Hello!")))) as socket:
        socket.send(input="Hi")
        events = await socket.events()
    assert kinds(events)[:3] == ["created", "in_progress", "output_item.added"]
    assert kinds(events)[-1] == "completed"
    assert text(events[-1]["response"]) == "Hello!"


async def test_responses_come_one_after_another() -> None:
    """Also when all is asked at once."""
    async with connected(application(ScriptedEngine(echo))) as socket:
        for count in range(1, 4):
            socket.send(input=[{"role": "user", "content": "Hi"}] * count, store=False)
        answers = [(await socket.events())[-1]["response"] for _ in range(3)]
    assert [text(answer) for answer in answers] == [f"You said {count} things." for count in range(1, 4)]


async def test_codex_warms_up_and_goes_on() -> None:
    """What Codex 0.169 sends: a first frame that generates nothing, then new items only, nothing of it stored."""

    def answering(submission: Submit) -> Script:
        is_answered = "sunny" in prompt(submission)
        return reply("It is known.", "It is sunny.") if is_answered else tool_call("get_weather", '{"city":"Oslo"}')

    engine = ScriptedEngine(answering)
    app = application(engine)
    common: dict[str, Any] = {
        "tools": [WEATHER, {"type": "web_search", "external_web_access": False}],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"summary": "auto"},
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "00000000-0000-4000-8000-000000000000",
        "client_metadata": {"turn_id": ""},
    }
    system = {"type": "message", "id": "msg_1", "role": "developer", "content": [{"type": "input_text", "text": "Be."}]}
    user = {"type": "message", "id": "msg_2", "role": "user", "content": [{"type": "input_text", "text": "Weather?"}]}
    async with connected(app) as socket:
        warm = await socket.turn(**common, input=[system], generate=False)
        assert (warm["status"], warm["output"], engine.submissions) == ("completed", [], [])
        first = await socket.turn(**common, input=[user], previous_response_id=warm["id"])
        [call] = [item for item in first["output"] if item["type"] == "function_call"]
        result = {"type": "function_call_output", "id": "fco_1", "call_id": call["call_id"], "output": "sunny"}
        second = await socket.turn(**common, input=[result], previous_response_id=first["id"])
    assert text(second) == "It is sunny."
    before, after = [submission.prompt for submission in engine.submissions]
    assert after[: len(before)] == before
    assert "A tool is needed." in prompt(engine.submissions[1])
    for response in (warm, first, second):
        assert (await get(app, response["id"])).status_code == 404


async def test_what_codex_was_recorded_to_send_is_answered() -> None:
    """With the ids of this server in place of the recorded ones."""
    (recording,) = (each for each in recordings() if each.name == "codex_ws")
    engine = ScriptedEngine(reply("Hm.", "Done."), status=LONG)
    async with connected(application(engine)) as socket:
        last: dict[str, Any] = {}
        for sent in recording.requests:
            body = deepcopy(sent.body)
            if "previous_response_id" in body:
                body |= {"previous_response_id": last["id"], "input": [{"role": "user", "content": "Go on."}]}
            last = await socket.turn(**body)
            assert last["status"] == "completed"
    first, second = [submission.prompt for submission in engine.submissions]
    assert second[: len(first) - 2] == first[:-2]


async def test_what_was_compacted_begins_a_new_chain() -> None:
    engine = ScriptedEngine(reply("Hm.", "The code word is slate."))
    app = application(engine)
    asked = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Remember: slate."}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "OK."}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Compress this."}]},
    ]
    compacted = (await post(app, f"{PATH}/compact", input=asked)).json()["output"]
    async with connected(app) as socket:
        more = {"type": "message", "role": "user", "content": "Continue from here."}
        assert (await socket.turn(input=[*compacted, more], tools=[], store=False))["status"] == "completed"
    assert "The code word is slate." in prompt(engine.submissions[1])


async def test_every_event_names_the_lane_that_its_request_has_named() -> None:
    async with connected(application(ScriptedEngine(echo))) as socket:
        for body in ({"stream_id": "a"}, {"stream_id": "b", "input": None}, {"stream_id": "c", "temperature": 9}, {}):
            socket.send(**{"input": "Hi", **body})
            assert {event.get("stream_id") for event in await socket.events()} == {body.get("stream_id")}


async def test_a_connection_keeps_its_last_response_alone() -> None:
    async with connected(application(ScriptedEngine(echo))) as socket:
        first = await socket.turn(input="Remember cobalt.", store=False)
        second = await socket.turn(input="And copper.", store=False, previous_response_id=first["id"])
        assert text(second) == "You said 2 things."
        missing = await socket.error(input="Again.", store=False, previous_response_id=first["id"])
        assert missing["error"]["code"] == "previous_response_not_found"
        third = await socket.turn(input="And zinc.", store=False, previous_response_id=second["id"])
        assert text(third) == "You said 3 things."


async def test_ids_that_are_no_text_are_no_ids() -> None:
    async with connected(application(ScriptedEngine(echo))) as socket:
        asked = [{"role": "user", "content": "Hi", "id": ["x"]}, {"role": "user", "content": "Ho", "id": {"a": 1}}]
        first = await socket.turn(input=asked, store=False)
        reference = [{"type": "item_reference", "id": "msg_unknown"}]
        error = await socket.error(input=reference, store=False, previous_response_id=first["id"])
        assert (error["status"], error["error"]["param"]) == (404, "input")


async def test_what_was_not_stored_is_gone_with_its_connection() -> None:
    app = application(ScriptedEngine(echo))
    async with connected(app) as socket:
        first = await socket.turn(input="Remember copper.", store=False)
    async with connected(app) as socket:
        error = await socket.error(input="Go on.", store=False, previous_response_id=first["id"])
        assert (error["status"], error["error"]["code"]) == (400, "previous_response_not_found")
        assert error["error"]["param"] == "previous_response_id"
        assert text(await socket.turn(input="Anew.", store=False)) == "You said 1 things."


async def test_what_was_stored_outlives_its_connection() -> None:
    """Also when it went on from something that was not."""
    app = application(ScriptedEngine(echo))
    async with connected(app) as socket:
        first = await socket.turn(input="One.", store=False)
        second = await socket.turn(input="Two.", previous_response_id=first["id"])
    async with connected(app) as socket:
        assert text(await socket.turn(input="Three.", previous_response_id=second["id"])) == "You said 3 things."
    listed = (await get(app, f"{second['id']}/input_items", order="asc")).json()["data"]
    assert [item["type"] for item in listed] == ["message", "reasoning", "message", "message"]


@pytest.mark.parametrize(
    "failing",
    [
        {"input": [{"type": "function_call_output", "call_id": "call_missing", "output": "?"}]},
        {"input": "Hi", "tool_choice": "required"},
        {"input": "Hi", "model": "gpt-4"},
        {"input": "word " * 5000},
    ],
)
async def test_a_turn_that_fails_takes_along_what_it_went_on_from(failing: Any) -> None:
    async with connected(application(ScriptedEngine(echo))) as socket:
        first = await socket.turn(input="Remember ember.", store=False)
        assert (await socket.error(**{"store": False, "previous_response_id": first["id"], **failing}))["status"] >= 400
        error = await socket.error(input="Go on.", store=False, previous_response_id=first["id"])
        assert error["error"]["code"] == "previous_response_not_found"


@pytest.mark.parametrize(
    ("message", "word"),
    [
        ("not JSON", "JSON"),
        ("[]", "object"),
        ('{"type": "response.steer"}', "response.create"),
        ('{"type": "response.create", "model": 7}', "model"),
        ('{"type": "response.create", "model": "gpt-oss-20b"}', "input"),
        ('{"model": "gpt-oss-20b", "input": "' + "x" * 3000 + '"}', "larger"),
        ("", "JSON"),
    ],
)
async def test_what_can_not_be_understood_is_told_and_the_connection_stays(message: str, word: str) -> None:
    async with connected(application(ScriptedEngine(echo), max_body_bytes=2000)) as socket:
        kept = await socket.turn(input="One.", store=False)
        socket.send_text(message)
        [event] = await socket.events()
        assert event["type"] == "error"
        assert word in event["error"]["message"]
        assert (
            text(await socket.turn(input="Two.", store=False, previous_response_id=kept["id"])) == "You said 2 things."
        )


async def test_refusals_and_failures_are_told_in_their_places() -> None:
    engine = ScriptedEngine([*reply("Hm.", "Hi")[:3], Fail(GenerationFailed("It can not go on."))])
    async with connected(application(engine)) as socket:
        failed = await socket.turn(input="Hi")
        assert (failed["status"], failed["error"]["message"]) == ("failed", "It can not go on.")
        engine.refusal = Overloaded("The queue is full.")
        error = await socket.error(input="Hi")
        assert (error["status"], error["error"]["code"]) == (429, "rate_limit_exceeded")


async def test_a_client_that_leaves_frees_its_slot() -> None:
    engine = ScriptedEngine([*reply("Hm.", "Hi")[:3], Hang()])
    async with connected(application(engine)) as socket:
        socket.send(input="Hi")
        await engine.hanging.wait()
        assert engine.running == 1
    assert engine.running == 0


async def test_an_idle_connection_is_closed_when_the_server_is_to_end() -> None:
    async with connected(application(ScriptedEngine(echo))) as socket:
        await socket.turn(input="Hi")
        socket.stopping.set()
        assert await socket.received.get() == {"type": "websocket.close", "code": 1012, "reason": ""}


async def test_what_is_being_answered_when_the_server_is_to_end_is_answered_first() -> None:
    goes_on = asyncio.Event()
    script: Script = [*reply("Hm.", "Hi")[:3], Wait(goes_on), *reply("Hm.", "Hi")[3:]]
    async with connected(application(ScriptedEngine(script))) as socket:
        socket.send(input="Hi")
        first = json.loads((await socket.received.get())["text"])
        socket.stopping.set()
        goes_on.set()
        assert [first["type"], (await socket.events(1))[-1]["type"]] == ["response.created", "response.completed"]
        assert (await socket.received.get())["code"] == 1012


async def test_silence_is_filled_with_in_progress_events() -> None:
    goes_on = asyncio.Event()
    script: Script = [*reply("Hm.", "Hi")[:3], Wait(goes_on), *reply("Hm.", "Hi")[3:]]
    async with connected(application(ScriptedEngine(script), ping_interval=0.01)) as socket:
        socket.send(input="Hi")
        early = [json.loads((await socket.received.get())["text"]) for _ in range(8)]
        goes_on.set()
        later: list[Any] = []
        while not later or later[-1]["type"] != "response.completed":
            later.append(json.loads((await socket.received.get())["text"]))
    events = [*early, *later]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert kinds(events).count("in_progress") > 3


@pytest.mark.parametrize(
    ("values", "headers"),
    [
        ({}, {"host": "evil.example"}),
        ({}, {"origin": "https://evil.example"}),
        ({"api_key": "right"}, {}),
        ({"api_key": "right"}, {"authorization": "Bearer wrong"}),
    ],
)
async def test_who_may_not_come_in_is_not_let_in(values: Any, headers: dict[str, str]) -> None:
    engine = ScriptedEngine(echo)
    socket = Socket(application(engine, **values), {**HEADERS, **headers})
    assert (await socket.received.get())["type"] == "websocket.close"
    await socket.serving
    assert not engine.submissions


async def test_the_right_key_opens() -> None:
    async with connected(application(ScriptedEngine(echo), api_key="right"), authorization="Bearer right") as socket:
        assert (await socket.turn(input="Hi"))["status"] == "completed"


@pytest.mark.parametrize(("code", "cause"), [(1001, "disconnect"), (1006, "disconnect"), (1012, "shutdown")])
async def test_clients_that_leave_are_told_from_a_server_that_stops(code: int, cause: str) -> None:
    engine = ScriptedEngine([Hang()])
    app = application(engine)
    async with connected(app) as socket:
        socket.send(input="Hi")
        await engine.hanging.wait()
        socket.leave(code)
        await socket.serving
    read = Exposed.of(await async_client(app).get("/metrics"))
    assert read.value("llm_server_requests_cancelled_total", phase="prefill", cause=cause) == 1
    assert read.value("llm_server_requests_cancelled_total") == 1
