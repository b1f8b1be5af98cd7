"""Schemas that are sent to hurt, against a real server: whoever sends one is answered, and nobody else notices."""

from __future__ import annotations

import asyncio
import json

import openai

from hostile_schemas import EXHAUSTING, HARMLESS, REFUSED, Schema
from running_server import RunningServer

MODEL = "gpt-oss-20b"
LONGEST = 2_000
"""Characters of a schema that the model is told of. Reading longer ones takes a CPU its time, whatever they say."""

COUNTED = ", ".join(map(str, range(1, 13)))


async def test_a_bystander_is_served_while_hostile_schemas_are(server: RunningServer) -> None:
    engines, workers = server.engine_pids(), server.worker_pids()
    all_schemas = [*HARMLESS.values(), *EXHAUSTING.values(), *(schema for schema, _ in REFUSED.values())]
    schemas = [schema for schema in all_schemas if len(json.dumps(schema)) < LONGEST]
    async with openai.AsyncOpenAI(base_url=f"{server.base_url}/v1", api_key="none", max_retries=0) as chat:
        attack = asyncio.create_task(_send_all(chat, schemas))
        counted = [await _count(chat)]
        while not attack.done():
            counted.append(await _count(chat))
        outcomes = await attack
    assert set(counted) == {COUNTED}
    assert "refused" in outcomes
    assert "called" in outcomes
    assert (server.engine_pids(), server.worker_pids()) == (engines, workers)


async def _send_all(chat: openai.AsyncOpenAI, schemas: list[Schema]) -> list[str]:
    two = asyncio.Semaphore(2)

    async def send(schema: Schema) -> str:
        async with two:
            return await _call(chat, schema)

    return list(await asyncio.gather(*map(send, schemas)))


async def _call(chat: openai.AsyncOpenAI, schema: Schema) -> str:
    """What became of a call that the model had to make."""
    try:
        answer = await chat.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "Hello"}],
            tools=[{"type": "function", "function": {"name": "f", "parameters": schema, "strict": True}}],
            tool_choice="required",
            max_tokens=60,
        )
    except openai.BadRequestError:
        return "refused"
    for call in answer.choices[0].message.tool_calls or ():
        assert call.type == "function"
        if schema not in EXHAUSTING.values():
            json.loads(call.function.arguments)
        return "called"
    assert answer.choices[0].finish_reason == "length"
    return "cut off"


async def _count(chat: openai.AsyncOpenAI) -> str:
    stream = await chat.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Count to 12"}], temperature=0, stream=True
    )
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
