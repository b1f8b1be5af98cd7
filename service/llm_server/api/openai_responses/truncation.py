"""`truncation: "auto"`: a conversation that is longer than the context loses its beginning.

Instructions stay, and so does the last item. Knows canonical items and the length of prompts, and no wire format.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from llm_server.conversation import GenerationRequest, Instructions, Item, ToolCall, ToolResult
from llm_server.errors import ContextTooLong
from llm_server.generation import Generation, Generator

ROOM: Final = 0.25
"""The share of the context that is cleared for the answer, unless it is to be a shorter one."""


async def start_within_context(generator: Generator, request: GenerationRequest, *, truncate: bool) -> Generation:
    """
    Raises:
        ContextTooLong: the prompt does not fit, and may not be shortened, or can not.
        ServerError: as `Generator.start`.
    """
    try:
        return await generator.start(request)
    except ContextTooLong as error:
        if not truncate:
            raise
        limit = error.limit
    room = min(request.max_tokens or limit, int(limit * ROOM))
    return await generator.start(await _shortened(generator, request, limit - room))


async def _shortened(generator: Generator, request: GenerationRequest, most: int) -> GenerationRequest:
    """The request with as few items left out as lets its prompt have `most` tokens. At worst it does not fit."""
    items = request.conversation.items
    droppable = sum(not isinstance(item, Instructions) for item in items) - 1
    low, high = 0, max(droppable, 0)
    while low < high:
        middle = (low + high) // 2
        shorter = replace(request.conversation, items=tuple(_without(items, middle)))
        fits = len((await generator.prompt(shorter)).tokens) <= most
        low, high = (low, middle) if fits else (middle + 1, high)
    return replace(request, conversation=replace(request.conversation, items=tuple(_without(items, low))))


def _without(items: Sequence[Item], count: int) -> Iterator[Item]:
    """The items but for the first `count` that are no instructions, and for results of calls among those."""
    calls: set[str] = set()
    for item in items:
        if isinstance(item, Instructions):
            yield item
        elif count > 0:
            count -= 1
            calls |= {item.call_id} if isinstance(item, ToolCall) else set()
        elif not (isinstance(item, ToolResult) and item.call_id in calls):
            yield item
