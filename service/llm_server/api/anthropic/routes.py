"""The endpoints of the Messages API. Each request is mapped, started and answered; nothing is decided here."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from llm_server.api.anthropic.context_edits import Edited, edited
from llm_server.api.anthropic.request import reasoning_blocks, to_conversation, to_generation
from llm_server.api.anthropic.response import Reply, message, new_message_id, stream
from llm_server.api.anthropic.schema import CountTokensRequest, MessagesRequest
from llm_server.api.anthropic.tools import left_out
from llm_server.api.body import json_body, read_body
from llm_server.api.http import EventStream, collect_while_connected, json_response, server_sent_event
from llm_server.api.left_out import left_out_header
from llm_server.api.services import GeneratorDep, ModelNamesDep, ServicesDep
from llm_server.conversation import Conversation
from llm_server.events import Event
from llm_server.generation import Generator

MessagesBody = Annotated[MessagesRequest, Depends(json_body(MessagesRequest))]
CountTokensBody = Annotated[CountTokensRequest, Depends(json_body(CountTokensRequest))]

router = APIRouter()


@router.post("/v1/messages")
async def create_message(request: Request, body: MessagesBody, services: ServicesDep) -> Response:
    model = services.models.require(body.model)
    asked = to_generation(body)
    changed = await _edited(services.generator, body, asked.conversation)
    generation = await services.generator.start(replace(asked, conversation=changed.conversation))
    reply = Reply(
        new_message_id(),
        model.name,
        generation.prompt_tokens,
        reasoning_blocks(body),
        body.max_tokens,
        body.caches,
        None if body.context_management is None else changed.applied,
    )
    if body.stream:
        events = _server_sent(reply, generation)
        interval = services.settings.ping_interval
        response: Response = EventStream(generation, events, keep_alive=_ping, interval=interval)
    else:
        response = json_response(message(reply, await collect_while_connected(request, generation)))
    response.headers.update(left_out_header(left_out(body)))
    return response


@router.post("/v1/messages/count_tokens")
async def count_tokens(body: CountTokensBody, generator: GeneratorDep, models: ModelNamesDep) -> Response:
    """The length of the prompt that `create_message` would run, to the token."""
    models.require(body.model)
    conversation = to_conversation(body)
    changed = await _edited(generator, body, conversation)
    tokens = await _tokens(generator, changed.conversation)
    if body.context_management is None:
        return json_response({"input_tokens": tokens})
    original = await _tokens(generator, conversation) if changed.applied else tokens
    return json_response({"input_tokens": tokens, "context_management": {"original_input_tokens": original}})


@router.post("/api/event_logging/batch")
@router.post("/api/event_logging/v2/batch")
async def discard_telemetry(request: Request, services: ServicesDep) -> Response:
    """Claude Code reports its use to the server that it is pointed at. Nothing of that is read or kept here."""
    await read_body(request, services.settings.max_body_bytes)
    return json_response({})


async def _edited(generator: Generator, body: CountTokensRequest, conversation: Conversation) -> Edited:
    edits = body.context_management.edits if body.context_management else ()
    return await edited(conversation, edits, lambda other: _tokens(generator, other))


async def _tokens(generator: Generator, conversation: Conversation) -> int:
    return len((await generator.prompt(conversation)).tokens)


async def _server_sent(reply: Reply, events: AsyncIterable[Event]) -> AsyncGenerator[bytes, None]:
    async with aclosing(stream(reply, events)) as wire_events:
        async for event in wire_events:
            yield server_sent_event(event, event["type"])


def _ping() -> bytes:
    return server_sent_event({"type": "ping"}, "ping")
