"""The Responses API of a real server with the real model: the official SDK over HTTP and over WebSockets."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.frames import CloseCode
from websockets.sync.client import ClientConnection, connect

from processes import wait_until
from running_server import RunningServer, StartServer
from sdk_types import check

legacy_connect = pytest.mark.filterwarnings(r"ignore:connect\(\) must be used as a context manager:DeprecationWarning")
"""The SDK opens connections in a way that its WebSocket library is about to give up."""

MODEL = "gpt-oss-20b"
GREEDY: dict[str, Any] = {"model": MODEL, "temperature": 0}
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the current weather for a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "The city"}},
        "required": ["city"],
    },
}


def counted(last: int) -> str:
    return ", ".join(map(str, range(1, last + 1)))


def openai_client(server: RunningServer, key: str = "none") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.base_url}/v1", api_key=key, max_retries=0)


@pytest.fixture
def client(server: RunningServer) -> Iterator[openai.OpenAI]:
    with openai_client(server) as client:
        yield client


def calls(response: Response) -> list[Any]:
    return [item for item in response.output if item.type in ("function_call", "custom_tool_call")]


def test_whole_and_streamed_say_the_same(client: openai.OpenAI) -> None:
    whole = client.responses.create(**GREEDY, input="Count to 8")
    check(Response, json.loads(whole.to_json()))
    assert whole.output_text == counted(8)
    events = list(client.responses.create(**GREEDY, input="Count to 8", stream=True))
    for event in events:
        check(ResponseStreamEvent, json.loads(event.to_json()))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == counted(8)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    last = events[-1]
    assert last.type == "response.completed"
    assert (last.response.usage and last.response.usage.output_tokens) == (whole.usage and whole.usage.output_tokens)


@pytest.mark.parametrize("tool_choice", ["auto", "required", {"type": "function", "name": "get_weather"}])
def test_a_tool_loop_goes_on_from_the_previous_response(client: openai.OpenAI, tool_choice: Any) -> None:
    asked: dict[str, Any] = {**GREEDY, "tools": [WEATHER]}
    first = client.responses.create(**asked, input="What is the weather in Oslo?", tool_choice=tool_choice)
    [call] = calls(first)
    assert json.loads(call.arguments) == {"city": "Oslo"}
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "snow"}
    second = client.responses.create(**asked, input=[result], previous_response_id=first.id)
    assert "snow" in second.output_text
    assert client.responses.retrieve(second.id).output_text == second.output_text
    listed = [item.type for item in client.responses.input_items.list(second.id, order="asc")]
    assert listed[0] == "message"
    assert listed[-2:] == ["function_call", "function_call_output"]


def test_a_grammar_is_kept_to_by_a_custom_tool_in_a_namespace(client: openai.OpenAI) -> None:
    form: Any = {"type": "grammar", "syntax": "regex", "definition": r"[a-z]{3}-[0-9]{2}"}
    tools: Any = [
        {
            "type": "namespace",
            "name": "lock",
            "description": "A lock.",
            "tools": [{"type": "custom", "name": "open", "description": "Opens it with a code", "format": form}],
        }
    ]
    answer = client.responses.create(**GREEDY, input="Open the lock", tools=tools, tool_choice="required")
    check(Response, json.loads(answer.to_json()))
    assert calls(answer)
    for call in calls(answer):
        assert (call.type, call.name, call.namespace) == ("custom_tool_call", "open", "lock")
        assert re.fullmatch(r"[a-z]{3}-[0-9]{2}", call.input)


def test_an_answer_is_parsed(client: openai.OpenAI) -> None:
    class Answer(BaseModel):
        warm: bool
        degrees: int

    parsed = client.responses.parse(**GREEDY, input="Hello", text_format=Answer)
    assert isinstance(parsed.output_parsed, Answer)


def test_reasoning_is_carried_by_the_client(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {**GREEDY, "tools": [WEATHER], "store": False, "include": ["reasoning.encrypted_content"]}
    question: Any = {"role": "user", "content": "What is the weather in Oslo?"}
    first = client.responses.create(**asked, input=[question])
    [call] = calls(first)
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "snow"}
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)
    history: Any = [question, *(item.to_dict() for item in first.output), result]
    assert "snow" in client.responses.create(**asked, input=history).output_text


def test_errors_are_the_sdks_own(client: openai.OpenAI) -> None:
    for stream in (False, True):
        with pytest.raises(openai.NotFoundError, match="gpt-oss-tiny"):
            client.responses.create(model="gpt-4", input="Hi", stream=stream)
        with pytest.raises(openai.BadRequestError) as refused:
            client.responses.create(model=MODEL, input="word " * 140_000, stream=stream)
        assert refused.value.code == "context_length_exceeded"


def turn(connection: Any, **asked: Any) -> Any:
    """The last event of the response."""
    connection.response.create(**{**GREEDY, "store": False, **asked})
    while (event := connection.recv()).type not in ("response.completed", "response.failed", "error"):
        pass
    return event


@legacy_connect
def test_one_connection_answers_one_turn_after_another(client: openai.OpenAI) -> None:
    """As Codex uses it: nothing is stored, and each turn goes on from the last."""
    asked: dict[str, Any] = {"tools": [WEATHER]}
    with client.responses.connect() as connection:
        warm = turn(connection, **asked, input=[], generate=False).response
        question = "What is the weather in Oslo?"
        first = turn(connection, **asked, input=question, previous_response_id=warm.id).response
        [call] = calls(first)
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "snow"}
        second = turn(connection, **asked, input=[result], previous_response_id=first.id).response
        assert "snow" in second.output_text
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)


@legacy_connect
def test_a_connection_needs_the_key_and_takes_no_larger_message_than_a_body(start_server: StartServer) -> None:
    server = start_server(LLM_API_KEY="right", LLM_MAX_BODY_BYTES="2000")
    server.wait_until_ready()
    with (
        openai_client(server, "wrong") as client,
        pytest.raises(InvalidStatus, match="401"),
        client.responses.connect(),
    ):
        pass
    with openai_client(server, "right") as client:
        with client.responses.connect() as connection:
            assert turn(connection, input="Count to 3").response.output_text == counted(3)
        with client.responses.connect() as connection, pytest.raises(ConnectionClosedError, match="1009"):
            turn(connection, input="x" * 3000)


def test_responses_outlive_a_restart_and_are_shared_by_the_workers(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(LLM_WORKERS="2")
    server.wait_until_ready()
    made = []
    for number in range(3, 9):
        with openai_client(server) as client:
            made.append(client.responses.create(**GREEDY, input=f"Count to {number}"))
    for number, response in enumerate(made, 3):
        for _ in range(3):
            with openai_client(server) as client:
                assert client.responses.retrieve(response.id).output_text == counted(number)
    server.process.terminate()
    assert server.wait() == 0, server.end_of_log
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "state").glob("responses.db*")}
    assert modes == {"responses.db": 0o600}
    again = start_server()
    again.wait_until_ready()
    with openai_client(again) as client:
        assert client.responses.retrieve(made[0].id).output_text == counted(3)
        on = client.responses.create(**GREEDY, input="Count to 5", previous_response_id=made[0].id)
        assert on.output_text == counted(5)
        assert on.usage is not None
        assert made[0].usage is not None
        assert on.usage.input_tokens > made[0].usage.input_tokens


@legacy_connect
def test_a_client_that_leaves_a_connection_frees_its_slot(start_server: StartServer) -> None:
    server = start_server(LLM_MAX_CONCURRENCY="1", LLM_MAX_QUEUE="0")
    server.wait_until_ready()
    with openai_client(server) as client:
        with client.responses.connect() as connection:
            connection.response.create(model=MODEL, input="word " * 30_000, temperature=2, store=False)
            assert connection.recv().type == "response.created"

        def is_answered() -> bool:
            try:
                answer = client.responses.create(**GREEDY, input="Count to 3")
            except openai.RateLimitError:
                return False
            return bool(answer.output_text == counted(3))

        wait_until(is_answered, seconds=60)


DIGIT_ONE = 16
"""A model that prefers this token to all others never ends its turn: it generates until it is at its limit."""


def endless(limit: int) -> str:
    asked = {"model": MODEL, "input": "Count to 5", "logit_bias": {str(DIGIT_ONE): 100}, "max_output_tokens": limit}
    return json.dumps({"type": "response.create", "store": False, **asked})


def told(socket: ClientConnection) -> Iterator[dict[str, Any]]:
    """Events, up to the server's closing the connection in good order, to come again."""
    with suppress(ConnectionClosed):
        while True:
            yield json.loads(socket.recv(timeout=120))
    assert socket.close_code == CloseCode.SERVICE_RESTART


@pytest.mark.parametrize(
    ("grace", "limit", "last"), [("300", 300, "response.incomplete"), ("0.5", 100_000, "response.failed")]
)
def test_connections_end_with_the_server(start_server: StartServer, grace: str, limit: int, last: str) -> None:
    """One that is idle at once, one that is busy with the end of what it says."""
    server = start_server(LLM_SHUTDOWN_TIMEOUT=grace)
    server.wait_until_ready()
    url = f"ws://127.0.0.1:{server.port}/v1/responses"
    with connect(url) as idle, connect(url) as busy:
        busy.send(endless(limit))
        assert json.loads(busy.recv())["type"] == "response.created"
        server.process.terminate()
        assert list(told(idle)) == []
        *_, event = told(busy)
        assert event["type"] == last
        if last == "response.failed":
            assert event["response"]["error"]["code"]
    assert server.wait() == 0, server.end_of_log
