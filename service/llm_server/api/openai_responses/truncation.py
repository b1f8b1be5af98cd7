"""`truncation: "auto"`: a conversation that is longer than the context loses its beginning.

Instructions stay, and so does the last item, with the calls that it and other last results answer: an answer to nothing
would be worse than none. Knows canonical items and the length of prompts, and no wire format.
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


async def start_within_context(
    generator: Generator, request: GenerationRequest, *, truncate: bool, kept: int = 1
) -> Generation:
    """`kept`: how many of the last items must not be left out.

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
    return await generator.start(await _shortened(generator, request, limit - room, kept))


async def _shortened(generator: Generator, request: GenerationRequest, most: int, kept: int) -> GenerationRequest:
    """The request with as few items left out as lets its prompt have `most` tokens. At worst it does not fit."""
    items = request.conversation.items
    low, high = 0, sum(not isinstance(item, Instructions) for item in items[: _first_kept(items, kept)])
    while low < high:
        middle = (low + high) // 2
        shorter = replace(request.conversation, items=tuple(_without(items, middle)))
        fits = len((await generator.prompt(shorter)).tokens) <= most
        low, high = (low, middle) if fits else (middle + 1, high)
    return replace(request, conversation=replace(request.conversation, items=tuple(_without(items, low))))


def _first_kept(items: Sequence[Item], kept: int) -> int:
    """The place from which on everything stays: the last `kept` items, and the calls that results among them answer."""
    said = [place for place, item in enumerate(items) if not isinstance(item, Instructions)]
    calls = {item.call_id: place for place, item in enumerate(items) if isinstance(item, ToolCall)}
    first = said[-kept] if len(said) >= kept else 0
    for place in range(len(items) - 1, -1, -1):
        if place < first:
            break
        item = items[place]
        if isinstance(item, ToolResult):
            first = min(first, calls.get(item.call_id, first))
    return first


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
