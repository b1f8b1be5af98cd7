"""Tools that nobody here can run: the model is not told of them, and a header tells the caller."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx2
import pytest

from clients import application, async_client
from fakes import ScriptedEngine, reply
from llm_server.harmony.encoding import harmony_encoding

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
HELLO = [{"role": "user", "content": "Hello"}]
APIS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "/v1/chat/completions": (
        {"messages": HELLO},
        {"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}},
    ),
    "/v1/messages": ({"messages": HELLO, "max_tokens": 100}, {"name": "get_weather", "input_schema": SCHEMA}),
    "/v1/responses": (
        {"input": "Hello", "store": False},
        {"type": "function", "name": "get_weather", "parameters": SCHEMA},
    ),
}
"""Bodies, and one tool as the API declares it."""

HOSTED = [
    {"type": "web_search", "name": "web_search"},
    {"type": "code_execution_20250825", "name": "code_execution"},
    {"type": "web_search", "name": "web_search"},
]
UNFIT = [{"type": "x\r\nset-cookie: a=b", "name": "x"}, {"type": "ö", "name": "y"}, {"type": " ", "name": "z"}]


async def post(path: str, engine: ScriptedEngine, tools: Sequence[Any], *, stream: bool = False) -> httpx2.Response:
    body = {"model": "gpt-oss-20b", "stream": stream, "tools": tools, **APIS[path][0]}
    async with async_client(application(engine)) as client:
        return await client.post(path, json=body)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", APIS)
async def test_hosted_tools_are_left_out_and_named_in_a_header(path: str, stream: bool) -> None:
    engine = ScriptedEngine(reply("They greet me.", "Hello!"))
    response = await post(path, engine, [HOSTED[0], APIS[path][1], *HOSTED[1:]], stream=stream)
    assert response.status_code == 200
    assert response.headers["x-tools-left-out"] == "web_search, code_execution_20250825"
    prompt = harmony_encoding().decode(engine.submissions[0].prompt)
    assert "get_weather" in prompt
    assert "web_search" not in prompt


@pytest.mark.parametrize("path", APIS)
async def test_the_header_is_there_for_cause_only_and_carries_no_text_of_the_clients(path: str) -> None:
    response = await post(path, ScriptedEngine(reply("They greet me.", "Hello!")), [APIS[path][1], *UNFIT])
    assert response.status_code == 200
    assert "x-tools-left-out" not in response.headers
    assert "set-cookie" not in response.headers
