"""`POST /v1/chat/completions`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from llm_server.api.body import json_body
from llm_server.api.choices import Choices
from llm_server.api.http import EventStream, json_response, server_sent_event, while_connected
from llm_server.api.left_out import left_out_header
from llm_server.api.openai_chat.request import calls_functions, custom_tools, left_out, to_generations
from llm_server.api.openai_chat.response import ChunkWriter, Envelope, completion
from llm_server.api.openai_chat.schema import ChatRequest
from llm_server.api.services import ServicesDep

DONE: Final = b"data: [DONE]\n\n"

router = APIRouter()


@router.post("/v1/chat/completions")
async def create_chat_completion(
    body: Annotated[ChatRequest, Depends(json_body(ChatRequest))],
    request: Request,
    services: ServicesDep,
) -> Response:
    models = services.models
    envelope = Envelope(
        models.require(body.model).name,
        models.fingerprint,
        functions=calls_functions(body),
        custom=custom_tools(body),
        include_usage=bool(body.stream_options and body.stream_options.include_usage),
        obfuscate=bool(body.stream_options and body.stream_options.include_obfuscation),
    )
    requests = to_generations(body)
    choices = await Choices.start(services.generator, requests)
    if body.stream:
        events = _stream(choices, ChunkWriter(envelope, len(requests)))
        response: Response = EventStream(choices, events, interval=services.settings.ping_interval)
    else:
        async with aclosing(choices):
            answers = await while_connected(request.receive, choices.collect())
        response = json_response(completion(envelope, answers))
    response.headers.update(left_out_header(left_out(body)))
    return response


async def _stream(choices: Choices, writer: ChunkWriter) -> AsyncGenerator[bytes, None]:
    for chunk in writer.start():
        yield server_sent_event(chunk)
    async with aclosing(choices.events()) as events:
        async for index, event in events:
            for chunk in writer.feed(index, event):
                yield server_sent_event(chunk)
    for chunk in writer.end():
        yield server_sent_event(chunk)
    yield DONE
