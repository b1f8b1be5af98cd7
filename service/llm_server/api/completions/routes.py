"""`POST /v1/completions`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from llm_server.api.body import json_body
from llm_server.api.choices import Choices
from llm_server.api.completions.request import to_generations, to_prompts
from llm_server.api.completions.response import ChunkWriter, Envelope, completion
from llm_server.api.completions.schema import CompletionRequest
from llm_server.api.http import EventStream, json_response, server_sent_event, while_connected
from llm_server.api.services import ServicesDep
from llm_server.conversation import GenerationRequest
from llm_server.errors import ContextTooLong
from llm_server.generation import Generator

DONE: Final = b"data: [DONE]\n\n"

router = APIRouter()


@router.post("/v1/completions")
async def create_completion(
    body: Annotated[CompletionRequest, Depends(json_body(CompletionRequest))],
    request: Request,
    services: ServicesDep,
) -> Response:
    model = services.models.require(body.model)
    prompts = await asyncio.to_thread(to_prompts, body)
    envelope = Envelope(
        model.name,
        services.models.fingerprint,
        [prompt.text for prompt in prompts],
        body.choices,
        echo=bool(body.echo),
        logprobs=body.logprobs,
        include_usage=bool(body.stream_options and body.stream_options.include_usage),
    )
    choices = await _started(services.generator, to_generations(body, prompts))
    if body.stream:
        events = _stream(choices, ChunkWriter(envelope))
        return EventStream(choices, events, interval=services.settings.ping_interval)
    async with aclosing(choices):
        answers = await while_connected(request.receive, choices.collect())
    size = body.candidates
    return json_response(completion(envelope, [answers[at : at + size] for at in range(0, len(answers), size)]))


async def _started(generator: Generator, requests: Sequence[GenerationRequest]) -> Choices:
    try:
        return await Choices.start(generator, requests)
    except ContextTooLong as error:
        error.param = "prompt"
        raise


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
