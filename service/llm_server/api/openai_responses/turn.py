"""One turn of a Responses conversation: what it goes on from, what it runs, and what is kept of it.

The same for HTTP and for WebSockets; knows neither. A turn goes on from kept responses, or from the one that a
WebSocket's last turn left behind without its being kept anywhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llm_server.api.http import JSON
from llm_server.api.openai_responses.items import kind, read_items
from llm_server.api.openai_responses.kept import kept_items
from llm_server.api.openai_responses.reader import History
from llm_server.api.openai_responses.request import check_supported, to_conversation, to_generation, toolbox
from llm_server.api.openai_responses.response import ResponseWriter, draft, wants_seals
from llm_server.api.openai_responses.schema import CompactRequest, PromptRequest, ResponseRequest
from llm_server.api.openai_responses.tools import Toolbox
from llm_server.api.openai_responses.truncation import start_within_context
from llm_server.api.services import Services
from llm_server.conversation import Conversation, GenerationRequest
from llm_server.errors import BadRequest, ContextTooLong, NotFound
from llm_server.generation import Generation
from llm_server.response_store import ResponseStore, Stored


class PreviousResponseNotFound(BadRequest):
    """What a request goes on from is not kept, or not any more. Codex reads the code, and sends the whole history."""

    code = "previous_response_not_found"

    def __init__(self) -> None:
        message = "'previous_response_id': there is no such response. It may never have been stored, or not any more."
        super().__init__(message, param="previous_response_id")


@dataclass(frozen=True, slots=True)
class Recent:
    """A response that is known to one connection: all that it was asked and that it answered, in order."""

    id: str
    items: Sequence[JSON]


@dataclass(frozen=True, slots=True)
class Context:
    """The items before this request's own, and its own; `linked`: those before are kept under the previous response."""

    prior: Sequence[JSON]
    own: Sequence[JSON]
    linked: bool

    def history(self, services: Services) -> History:
        items = [*read_items(self.prior, "previous_response_id"), *read_items(self.own)]
        return History(items, services.sealed_text.open, len(self.prior))


@dataclass(frozen=True, slots=True)
class Turn:
    """A request that can be run."""

    context: Context
    request: GenerationRequest
    tools: Toolbox
    writer: ResponseWriter
    truncate: bool

    async def start(self, services: Services) -> Generation:
        """
        Raises:
            ServerError: as `Generator.start`.
        """
        try:
            return await start_within_context(services.generator, self.request, truncate=self.truncate)
        except ContextTooLong as error:
            error.param = "input"
            raise

    async def keep(self, store: ResponseStore) -> None:
        """Store the finished response, if it is to be. One that could not be says so of itself."""
        response = self.writer.response
        if not response["store"]:
            return
        context = self.context
        previous = response["previous_response_id"] if context.linked else None
        asked = kept_items(context.own, context.prior) if context.linked else kept_items([*context.prior, *context.own])
        stored = Stored(response["id"], previous, asked, response)
        if not await store.save(stored):
            self.writer.response = {**response, "store": False}

    def recent(self) -> Recent:
        """What the connection's next turn may go on from."""
        response = self.writer.response
        return Recent(response["id"], [*self.context.prior, *self.context.own, *response["output"]])


async def prepare(body: ResponseRequest, services: Services, recent: Recent | None = None) -> Turn:
    """
    Raises:
        ServerError: the model is not served, something is asked that can not be done, or what the request goes on from
            is not known.
    """
    model = services.models.require(body.model)
    context = await context_of(body, services, recent)
    history = context.history(services)
    tools = toolbox(body, history)
    request = to_generation(body, history, tools)
    store = body.store is not False and services.responses.is_open
    drafted = draft(body, model.name, services.generator.defaults, store=store)
    writer = ResponseWriter(drafted, tools.known, encrypted=wants_seals(body))
    return Turn(context, request, tools, writer, body.truncation == "auto")


async def conversation_of(body: PromptRequest, services: Services) -> Conversation:
    """What `prepare` would run, as far as it decides the prompt."""
    history = (await context_of(body, services)).history(services)
    return to_conversation(body, history, toolbox(body, history))


async def context_of(body: PromptRequest | CompactRequest, services: Services, recent: Recent | None = None) -> Context:
    """
    Raises:
        BadRequest: there is nothing to answer, or nothing to go on from.
        NotFound: an item is referred to that is not kept.
    """
    if isinstance(body, PromptRequest):
        check_supported(body)
    if body.input is None and body.previous_response_id is None:
        raise BadRequest("Missing required field 'input'.", param="input")
    prior, linked = await _prior(body.previous_response_id, services.responses, recent)
    own = await _resolved(body.input or [], prior, services.responses)
    return Context(prior, own, linked)


async def _prior(identity: str | None, store: ResponseStore, recent: Recent | None) -> tuple[Sequence[JSON], bool]:
    if identity is None:
        return (), True
    if chain := await store.chain(identity):
        return [item for stored in chain for item in stored.items], True
    if recent is not None and recent.id == identity:
        return recent.items, False
    raise PreviousResponseNotFound


async def _resolved(items: Sequence[JSON], prior: Sequence[JSON], store: ResponseStore) -> list[JSON]:
    """The items with those in place of which only their ids were sent."""
    wanted = [str(item.get("id")) for item in items if kind(item) == "item_reference"]
    if not wanted:
        return list(items)
    known = {item["id"]: item for item in prior if isinstance(item.get("id"), str)}
    known |= await store.items([identity for identity in wanted if identity not in known])
    if not known.keys() >= set(wanted):
        message = "'input': an item that is referred to is not kept. Items are, unless 'store' is false, for a while."
        raise NotFound(message, param="input")
    return [known[str(item["id"])] if kind(item) == "item_reference" else item for item in items]
