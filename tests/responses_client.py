"""Requests to the Responses API of an application, and their answers, which the SDK's types have judged."""

from __future__ import annotations

import json
from typing import Any

import httpx2
from fastapi import FastAPI
from openai.types.responses import Response, ResponseStreamEvent

from clients import async_client
from sdk_types import check

MODEL = "gpt-oss-20b"
PATH = "/v1/responses"
WEATHER: dict[str, Any] = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


async def post(app: FastAPI, path: str = PATH, **body: Any) -> httpx2.Response:
    async with async_client(app) as client:
        return await client.post(path, json={"model": MODEL, **body})


async def get(app: FastAPI, path: str, **query: Any) -> httpx2.Response:
    async with async_client(app) as client:
        return await client.get(f"{PATH}/{path}", params=query)


async def whole(app: FastAPI, **body: Any) -> dict[str, Any]:
    response = await post(app, **body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    check(Response, answer)
    return answer


async def streamed(app: FastAPI, **body: Any) -> list[dict[str, Any]]:
    response = await post(app, **body, stream=True)
    assert response.status_code == 200, response.text
    return events_of(response.text)


def events_of(text: str) -> list[dict[str, Any]]:
    """The events of a stream, each under its own name, in the order of their numbers, up to the end of the stream."""
    *blocks, after = [block for block in text.split("\n\n") if not block.startswith(":")]
    assert (blocks.pop(), after) == ("data: [DONE]", "")
    events = []
    for block in blocks:
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        check(ResponseStreamEvent, event)
        events.append(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]
