"""Several generations of one request as one stream of events, each with the index of its choice.

Knows events and nothing of their wire form.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from llm_server.conversation import GenerationRequest
from llm_server.events import Completion, Event, Fold
from llm_server.generation import Generation, Generator


class Choices:
    """Admitted generations. Whoever holds them must close them, as with a single one."""

    def __init__(self, generations: Sequence[Generation]) -> None:
        self._generations = generations

    @classmethod
    async def start(cls, generator: Generator, requests: Sequence[GenerationRequest]) -> Choices:
        """Admit all of the requests or none, all at once: an engine that is busy takes them in together.

        Raises:
            ServerError: one of them was refused.
        """
        starting = [asyncio.create_task(generator.start(request)) for request in requests]
        try:
            return cls(await asyncio.gather(*starting))
        except BaseException:
            for task in starting:
                task.cancel()
            ended = await asyncio.gather(*starting, return_exceptions=True)
            await cls([started for started in ended if not isinstance(started, BaseException)]).aclose()
            raise

    async def aclose(self) -> None:
        for generation in self._generations:
            await generation.aclose()

    async def events(self) -> AsyncGenerator[tuple[int, Event], None]:
        """Events as they come, those of one choice in their order. Raises what any of the generations raises."""
        if len(self._generations) == 1:
            async for event in self._generations[0]:
                yield 0, event
            return
        waiting = {_next(generation): index for index, generation in enumerate(self._generations)}
        try:
            while waiting:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in [task for task in waiting if task.done()]:
                    index, next_event = waiting.pop(task), task.result()
                    if next_event is not None:
                        waiting[_next(self._generations[index])] = index
                        yield index, next_event
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def collect(self) -> list[Completion]:
        """The whole answers, by choice."""
        folds = [Fold() for _ in self._generations]
        async with aclosing(self.events()) as events:
            async for index, event in events:
                folds[index].add(event)
        return [fold.completion for fold in folds]


def _next(generation: Generation) -> asyncio.Task[Event | None]:
    async def following() -> Event | None:
        return await anext(generation, None)

    return asyncio.create_task(following())
