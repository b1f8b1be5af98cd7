"""What a request's body may be. Every fault is a 4xx that names the place and quotes nothing."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import Depends
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.types import Message

from clients import application, async_client
from fakes import ScriptedEngine, reply
from llm_server.api.body import LARGE, MAX_DEPTH, BodyTimeout, json_body, parse, read_body, validate
from llm_server.errors import BadRequest

NONCE = "xyzzy-plugh"


class Inner(BaseModel):
    model_config = ConfigDict(strict=True)
    text: str
    size: Annotated[int, Field(ge=1)] = 1


class Outer(BaseModel):
    model_config = ConfigDict(strict=True)
    inner: list[Inner]
    named: dict[str, int] = {}
    either: Inner | Outer | None = None


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not valid JSON"),
        (b'{"a": 1', "line 1, column 8"),
        (b'{"a": "' + NONCE.encode() + b'" nonsense}', "not valid JSON"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": Infinity}', "Infinity"),
        (b'{"a": -Infinity}', "-Infinity"),
        (b'{"a": 1e400}', "too large"),
        (b'{"a": -1e400}', "too large"),
        (b'{"a": ' + b"9" * 21 + b"}", "20 digits"),
        (b'{"a": ' + b"9" * 20 + b"}", "64 bits"),
        (b'{"a": -' + b"9" * 19 + b"}", "64 bits"),
        (b'{"a": ' + b"9" * 5000 + b"}", "20 digits"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"\\udfff": 1}', "surrogate"),
        (b'{"a": ["\\ud83d x \\ude00"]}', "surrogate"),
        (b'{"a": 1, "a": 2}', "same key"),
        (b'{"a": {"b": 1, "b": 1}}', "same key"),
        (b'{"a": "\xff"}', "UTF-8 (byte 7)"),
        (b"\xef\xbb\xbf{}", "not valid JSON"),
        ('{"a": 1}'.encode("utf-16"), "UTF-8"),
        (nested(MAX_DEPTH + 1), f"{MAX_DEPTH} levels"),
        (nested(100_000), f"{MAX_DEPTH} levels"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, f"{MAX_DEPTH} levels"),
    ],
)
def test_malformed_json_is_refused_with_its_fault(body: bytes, said: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse(body)
    assert said in refused.value.message
    assert NONCE not in refused.value.message


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": "\\ud83d\\ude00"}', {"a": "😀"}),
        (b'{"a": "\\u0000\\\\ud800"}', {"a": "\0\\ud800"}),
        (b'{"a": -9223372036854775808}', {"a": -(2**63)}),
        (b'{"a": 1e-400}', {"a": 0.0}),
        (nested(MAX_DEPTH), None),
    ],
)
def test_unusual_json_is_accepted(body: bytes, value: Any) -> None:
    parsed = parse(body)
    assert parsed == value if value is not None else parsed


@pytest.mark.parametrize(
    ("value", "param", "said"),
    [
        ({}, "inner", "Missing required field 'inner'."),
        ({"inner": NONCE}, "inner", "a list"),
        (
            {"inner": [{"text": "a"}, {"text": 7}]},
            "inner[1].text",
            "Invalid 'inner[1].text': Input should be a valid string.",
        ),
        ({"inner": [{"text": "a", "size": 0}]}, "inner[0].size", "greater than or equal to 1"),
        ({"inner": [{"text": "a", "size": "1"}]}, "inner[0].size", "valid integer"),
        ({"inner": [], "named": {NONCE: "x"}}, "named", "valid integer"),
        ({"inner": [NONCE]}, "inner[0]", "Invalid 'inner[0]': Input should be an object."),
        ({"inner": [], "either": {"text": 3}}, "either.text", "Invalid 'either.text': Input should be a valid string."),
        ([], None, "must be a JSON object"),
        (NONCE, None, "must be a JSON object"),
    ],
)
def test_validation_names_the_field_and_never_quotes(value: Any, param: str | None, said: str) -> None:
    with pytest.raises(BadRequest) as refused:
        validate(Outer, value)
    assert refused.value.param == param
    assert said in refused.value.message
    assert NONCE not in refused.value.message


def chat(text: str) -> bytes:
    return json.dumps({"model": "gpt-oss-20b", "messages": [{"role": "user", "content": text}]}).encode()


def client(**values: Any) -> httpx2.AsyncClient:
    return async_client(application(ScriptedEngine(reply("Hm.", "Hi")), **values))


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "application/jsonp"},
        {"content-type": ""},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
)
async def test_only_plain_json_is_taken(headers: dict[str, str]) -> None:
    response = await client().post("/v1/chat/completions", content=chat("Hello"), headers=headers)
    assert response.status_code == 415
    assert response.json()["error"]["code"] == "unsupported_media_type"


@pytest.mark.parametrize("media_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
async def test_json_is_taken_with_parameters(media_type: str) -> None:
    response = await client().post("/v1/chat/completions", content=chat("Hello"), headers={"content-type": media_type})
    assert response.status_code == 200


@pytest.mark.parametrize("size", [2_000, 5_000_000])
async def test_a_body_beyond_the_limit_is_413(size: int) -> None:
    limited = client(max_body_bytes=1024)
    response = await limited.post(
        "/v1/chat/completions", content=chat("x" * size), headers={"content-type": "application/json"}
    )
    assert response.status_code == 413
    assert "1024 bytes" in response.json()["error"]["message"]


@pytest.mark.parametrize("chunks", [2, 5, 100])
async def test_a_chunked_body_beyond_the_limit_is_413(chunks: int) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(chunks):
            yield b" " * 1000

    limited = client(max_body_bytes=1024)
    response = await limited.post("/v1/chat/completions", content=body(), headers={"content-type": "application/json"})
    assert response.status_code == 413


async def test_a_body_at_the_limit_is_read() -> None:
    limited = client(max_body_bytes=1024)
    body = chat("x").ljust(1024)
    response = await limited.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 200


class Note(BaseModel):
    """Knows on which thread it was read."""

    text: str
    thread: int = Field(default_factory=threading.get_ident)


@pytest.mark.parametrize(("size", "aside"), [(1, False), (LARGE, True)])
async def test_a_large_body_is_read_aside_so_that_no_stream_waits_for_it(size: int, aside: bool) -> None:
    app = application(ScriptedEngine())
    threads = []

    async def take(note: Annotated[Note, Depends(json_body(Note))]) -> None:
        threads.append(note.thread)

    app.post("/note")(take)
    assert (await async_client(app).post("/note", json={"text": "a" * size})).status_code == 200
    assert (threads != [threading.get_ident()]) is aside


async def test_a_body_that_does_not_arrive_is_given_up() -> None:
    parts: list[Message] = [{"type": "http.request", "body": b"{", "more_body": True}]

    async def receive() -> Message:
        if parts:
            return parts.pop()
        await asyncio.Event().wait()
        raise AssertionError

    request = Request({"type": "http", "headers": [(b"content-length", b"100")]}, receive)
    with pytest.raises(BodyTimeout) as late:
        await read_body(request, 1024, timeout=0.01)
    assert late.value.status == 408
