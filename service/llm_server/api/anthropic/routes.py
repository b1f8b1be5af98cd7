"""The endpoints of the Messages API. Each request is mapped, started and answered; nothing is decided here."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from llm_server.api.anthropic.request import reasoning_blocks, to_conversation, to_generation
from llm_server.api.anthropic.response import Reply, message, new_message_id, stream
from llm_server.api.anthropic.schema import CountTokensRequest, MessagesRequest
from llm_server.api.body import json_body
from llm_server.api.http import EventStream, collect_while_connected, json_response, server_sent_event
from llm_server.api.services import GeneratorDep, ModelNamesDep, ServicesDep
from llm_server.events import Event

MessagesBody = Annotated[MessagesRequest, Depends(json_body(MessagesRequest))]
CountTokensBody = Annotated[CountTokensRequest, Depends(json_body(CountTokensRequest))]

router = APIRouter()


@router.post("/v1/messages")
async def create_message(request: Request, body: MessagesBody, services: ServicesDep) -> Response:
    model = services.models.require(body.model)
    generation = await services.generator.start(to_generation(body))
    reply = Reply(new_message_id(), model.name, generation.prompt_tokens, reasoning_blocks(body))
    if body.stream:
        events = _server_sent(reply, generation)
        return EventStream(generation, events, keep_alive=_ping, interval=services.settings.ping_interval)
    return json_response(message(reply, await collect_while_connected(request, generation)))


@router.post("/v1/messages/count_tokens")
async def count_tokens(body: CountTokensBody, generator: GeneratorDep, models: ModelNamesDep) -> Response:
    """The length of the prompt that `create_message` would run, to the token."""
    models.require(body.model)
    prompt = await generator.prompt(to_conversation(body))
    return json_response({"input_tokens": len(prompt.tokens)})


async def _server_sent(reply: Reply, events: AsyncIterable[Event]) -> AsyncGenerator[bytes, None]:
    async with aclosing(stream(reply, events)) as wire_events:
        async for event in wire_events:
            yield server_sent_event(event, event["type"])


def _ping() -> bytes:
    return server_sent_event({"type": "ping"}, "ping")
