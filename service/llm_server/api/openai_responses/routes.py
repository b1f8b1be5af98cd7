"""The endpoints of the Responses API. Each request is prepared, started and answered; nothing is decided here."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from llm_server.api.body import json_body, validate
from llm_server.api.http import (
    COMMENT,
    JSON,
    EventStream,
    collect_while_connected,
    json_response,
    server_sent_event,
    while_connected,
)
from llm_server.api.left_out import left_out_header
from llm_server.api.openai_responses import compaction
from llm_server.api.openai_responses.kept import listed
from llm_server.api.openai_responses.output import visible
from llm_server.api.openai_responses.pages import page
from llm_server.api.openai_responses.replay import replayed
from llm_server.api.openai_responses.request import ENCRYPTED
from llm_server.api.openai_responses.response import ResponseWriter
from llm_server.api.openai_responses.schema import (
    CompactRequest,
    PageQuery,
    PromptRequest,
    ResponseQuery,
    ResponseRequest,
)
from llm_server.api.openai_responses.truncation import start_within_context
from llm_server.api.openai_responses.turn import Turn, context_of, conversation_of, prepare
from llm_server.api.openai_responses.websocket import Session
from llm_server.api.services import Services, ServicesDep, services
from llm_server.errors import BadRequest, NotFound, ServerError
from llm_server.generation import Generation
from llm_server.response_store import Stored

DONE: Final = b"data: [DONE]\n\n"
"""Ends every stream, as the Open Responses specification has it."""

PATH: Final = "/v1/responses"

ResponseBody = Annotated[ResponseRequest, Depends(json_body(ResponseRequest))]
PromptBody = Annotated[PromptRequest, Depends(json_body(PromptRequest))]
CompactBody = Annotated[CompactRequest, Depends(json_body(CompactRequest))]

router = APIRouter()


@router.post(PATH)
async def create_response(body: ResponseBody, request: Request, services: ServicesDep) -> Response:
    turn = await prepare(body, services)
    generation = await turn.start(services)
    response = (
        _streamed(turn, generation, services) if body.stream else await _whole(turn, generation, request, services)
    )
    response.headers.update(left_out_header(turn.tools.left_out))
    return response


@router.websocket(PATH)
async def respond_in_turns(socket: WebSocket) -> None:
    await Session(socket, services(socket)).run()


@router.post(f"{PATH}/input_tokens")
async def count_input_tokens(body: PromptBody, services: ServicesDep) -> Response:
    """The length of the prompt that `create_response` would run, to the token, before any truncation."""
    if body.model is not None:
        services.models.require(body.model)
    prompt = await services.generator.prompt(await conversation_of(body, services))
    return json_response({"object": "response.input_tokens", "input_tokens": len(prompt.tokens)})


@router.post(f"{PATH}/compact")
async def compact(body: CompactBody, request: Request, services: ServicesDep) -> Response:
    services.models.require(body.model)
    history = (await context_of(body, services)).history(services)
    asked = compaction.to_generation(body, history)
    generation = await start_within_context(services.generator, asked, truncate=True, kept=compaction.KEPT)
    answer = await collect_while_connected(request, generation)
    return json_response(compaction.compacted(answer, services.sealed_text))


@router.get(PATH + "/{identity}")
async def get_response(identity: str, request: Request, services: ServicesDep) -> Response:
    query = validate(ResponseQuery, _query(request))
    stored = await _found(identity, services)
    response = _shown(stored, query.include)
    if not query.stream:
        return json_response(response)
    events = [event for event in replayed(response) if event["sequence_number"] > query.starting_after]
    return Response(_sent(events) + DONE, media_type="text/event-stream")


@router.delete(PATH + "/{identity}")
async def delete_response(identity: str, services: ServicesDep) -> Response:
    """The response is gone, and so is what goes on from it: that can be read, but not continued."""
    if not await services.responses.delete(identity):
        raise _unknown()
    return json_response({"id": identity, "object": "response", "deleted": True})


@router.post(PATH + "/{identity}/cancel")
async def cancel_response(identity: str, services: ServicesDep) -> Response:
    await _found(identity, services)
    raise BadRequest("Only a response that runs in the background can be cancelled. Close the stream of any other.")


@router.get(PATH + "/{identity}/input_items")
async def list_input_items(identity: str, request: Request, services: ServicesDep) -> Response:
    """All that the response was asked, what it goes on from included."""
    query = validate(PageQuery, _query(request))
    last = await _found(identity, services)
    earlier = (await services.responses.chain(identity))[:-1]
    asked = [item for stored in earlier for item in stored.items] + list(last.input)
    items = [visible(listed(item), encrypted=ENCRYPTED in query.include) for item in asked]
    return json_response(page(items, query))


def _query(request: Request) -> dict[str, Any]:
    """The query's parameters as one object. The SDKs write a list's name with brackets."""
    query = request.query_params
    return {**query, "include": [*query.getlist("include"), *query.getlist("include[]")]}


def _streamed(turn: Turn, generation: Generation, services: Services) -> Response:
    writer = turn.writer
    return EventStream(
        generation,
        _events(turn, generation, services),
        keep_alive=lambda: _sent([writer.in_progress()]) if writer.is_started else COMMENT,
        failure=lambda error: _failed(writer, error),
        interval=services.settings.ping_interval,
    )


async def _events(turn: Turn, generation: Generation, services: Services) -> AsyncGenerator[bytes, None]:
    yield _sent(turn.writer.start())
    async for event in generation:
        for wire_event in turn.writer.feed(event):
            yield _sent([wire_event])
    await turn.keep(services.responses)
    yield _sent([turn.writer.end()]) + DONE


def _failed(writer: ResponseWriter, error: ServerError) -> bytes:
    started = [] if writer.is_started else writer.start()
    return _sent([*started, writer.failed(error)]) + DONE


def _sent(events: Iterable[JSON]) -> bytes:
    return b"".join(server_sent_event(event, event["type"]) for event in events)


async def _whole(turn: Turn, generation: Generation, request: Request, services: Services) -> Response:
    async def fold() -> None:
        async for event in generation:
            turn.writer.feed(event)

    async with aclosing(generation):
        await while_connected(request.receive, fold())
    await turn.keep(services.responses)
    return json_response(turn.writer.shown)


async def _found(identity: str, services: Services) -> Stored:
    stored = await services.responses.find(identity)
    if stored is None:
        raise _unknown()
    return stored


def _unknown() -> NotFound:
    return NotFound("There is no response with this id. It may never have been stored, or not any more.")


def _shown(stored: Stored, include: Sequence[str]) -> JSON:
    output = [visible(item, encrypted=ENCRYPTED in include) for item in stored.response["output"]]
    return {**stored.response, "output": output}
