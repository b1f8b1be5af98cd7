"""Schemas that are sent to hurt: each is a 400 that says why, or is enforced, on every API and in every place."""

from __future__ import annotations

import re
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from msgspec import structs

from clients import application, async_client
from fakes import MODEL, READY, ScriptedEngine, reply
from hostile_schemas import HARMLESS, REFUSED, Schema

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def app() -> FastAPI:
    model = structs.replace(MODEL, context_length=131_072)
    return application(ScriptedEngine(reply("Think.", "Hello!"), status=structs.replace(READY, model=model)))


async def post(app: FastAPI, path: str, **body: Any) -> httpx2.Response:
    async with async_client(app) as client:
        return await client.post(path, json={"model": "gpt-oss-20b", "max_tokens": 50, "messages": HELLO, **body})


def chat_tool(schema: Schema, *, strict: bool) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": {"name": "f", "parameters": schema, "strict": strict}}]}


def said(response: httpx2.Response) -> str:
    message: str = response.json()["error"]["message"]
    return message


@pytest.mark.parametrize("name", REFUSED)
async def test_what_can_not_be_enforced_is_refused_with_a_reason(app: FastAPI, name: str) -> None:
    schema, word = REFUSED[name]
    answer = await post(
        app,
        "/v1/chat/completions",
        response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": schema, "strict": True}},
    )
    assert answer.status_code == 400, answer.text
    assert re.search(word, said(answer)), said(answer)
    strict = await post(app, "/v1/chat/completions", **chat_tool(schema, strict=True))
    assert strict.status_code == 400, strict.text
    assert re.search(word, said(strict)), said(strict)


async def test_a_tool_is_refused_under_the_name_that_its_sender_gave_it(app: FastAPI) -> None:
    schema, _ = next(iter(REFUSED.values()))
    function = {"name": "mcp__fs__read-text.file", "parameters": schema, "strict": True}
    answer = await post(app, "/v1/chat/completions", tools=[{"type": "function", "function": function}])
    error = answer.json()["error"]
    assert "'mcp__fs__read-text.file'" in error["message"]
    assert error["param"] == "tools"


@pytest.mark.parametrize("name", HARMLESS)
async def test_what_only_looks_bad_is_enforced(app: FastAPI, name: str) -> None:
    schema = HARMLESS[name]
    strict = await post(app, "/v1/chat/completions", **chat_tool(schema, strict=True))
    assert strict.status_code == 200, strict.text
    tool = await post(app, "/v1/chat/completions", **chat_tool(schema, strict=False))
    assert tool.status_code == 200, tool.text


@pytest.mark.parametrize("keyword", ["pattern", "multipleOf", "maximum", "patternProperty"])
async def test_a_tool_that_is_not_strict_is_served_without_what_is_too_hard(app: FastAPI, keyword: str) -> None:
    """Agents bring the tools of others, and can not mend them."""
    for name, (schema, word) in REFUSED.items():
        if word == keyword:
            answer = await post(app, "/v1/chat/completions", **chat_tool(schema, strict=False))
            assert answer.status_code == 200, f"{name}: {answer.text}"


@pytest.mark.parametrize("keyword", ["pattern", "multipleOf", "maximum", "patternProperty"])
async def test_so_is_an_answer_that_need_not_be_strict(app: FastAPI, keyword: str) -> None:
    for name, (schema, word) in REFUSED.items():
        if word == keyword:
            form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema, "strict": False}}
            answer = await post(app, "/v1/chat/completions", response_format=form)
            assert answer.status_code == 200, f"{name}: {answer.text}"


@pytest.mark.parametrize("limit", [None, 50])
async def test_a_tool_more_or_less_is_no_failure(app: FastAPI, limit: int | None) -> None:
    """256 different schemas are one more than the grammar library tells apart."""
    schemas = [{"type": "object", "properties": {f"x{number}": {"type": "string"}}} for number in range(256)]
    tools = [
        {"type": "function", "function": {"name": f"f{number}", "parameters": schema}}
        for number, schema in enumerate(schemas)
    ]
    answer = await post(app, "/v1/chat/completions", tools=tools, max_tokens=limit)
    assert answer.status_code == 200, answer.text


async def test_what_the_library_panics_at_is_refused(app: FastAPI) -> None:
    """More schemas than it tells apart, hidden in a grammar."""
    schemas = "\n".join(f'r{number}: %json {{"const": {number}}}' for number in range(300))
    definition = f"start: {' | '.join(f'r{number}' for number in range(300))}\n{schemas}"
    grammar = {"type": "grammar", "grammar": {"syntax": "lark", "definition": definition}}
    tool = {"type": "custom", "custom": {"name": "f", "format": grammar}}
    answer = await post(app, "/v1/chat/completions", tools=[tool])
    assert answer.status_code == 400, answer.text
    assert "too complex" in said(answer)


async def test_no_schema_is_quoted_in_its_refusal(app: FastAPI) -> None:
    schema = {"type": "object", "properties": {"zebra": {"type": "string", "pattern": "^(zebra"}}}
    answer = await post(app, "/v1/chat/completions", **chat_tool(schema, strict=True))
    assert answer.status_code == 400
    assert "zebra" not in said(answer)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999999", "1" * 5000])
async def test_numbers_that_are_none_are_refused(app: FastAPI, number: str) -> None:
    schema = f'{{"type": "number", "maximum": {number}}}'
    body = f"""{{"model": "gpt-oss-20b", "messages": [{{"role": "user", "content": "Hello"}}], "tools": [{{
        "type": "function", "function": {{"name": "f", "strict": true, "parameters": {schema}}}}}]}}"""
    async with async_client(app) as client:
        answer = await client.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text
