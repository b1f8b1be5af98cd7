"""The canary against an engine that the test plays: it sings when it is idle, and tells when there is no answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from llm_server.canary import Canary
from llm_server.engine.channel import Clients
from llm_server.engine.types import Abort, Admitted, Finished, FromEngine, ModelInfo, Refused, Status, Submit, Tokens

MODEL = ModelInfo("played", 100, "none", "cpu", 1, 1)
IDLE = Status("1", "ready", MODEL, 0, 0)
BUSY = Status("1", "ready", MODEL, 1, 0)
LOADING = Status("1", "loading", None, 0, 0)
QUICK = Canary(interval=0.02, patience=0.05, limit=2)


def tokens(request_id: str, reason: str = "length") -> list[FromEngine]:
    finished = Finished(request_id, "error" if reason == "error" else "length", 0, 0.0, 0.0, 0.0)
    return [Admitted(request_id), *([] if reason == "error" else [Tokens(request_id, [5], [])]), finished]


@dataclass
class Cage:
    """An engine's end of the socket, a canary at the other, and what it has reported."""

    clients: Clients
    watching: asyncio.Task[None] = field(init=False)
    results: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    client: bytes = b""

    async def submission(self, status: Status = IDLE) -> Submit:
        """Say how the engine is until the canary asks for a token."""
        async with asyncio.timeout(20):
            while True:
                for client, message in self.clients.receive(0):
                    self.client = client
                    if isinstance(message, Submit):
                        return message
                self.say(status)
                await asyncio.sleep(0.005)

    async def aborted(self) -> str:
        async with asyncio.timeout(20):
            while True:
                for _, message in self.clients.receive(0):
                    if isinstance(message, Abort):
                        return message.request_id
                await asyncio.sleep(0.005)

    async def reported(self, results: list[str]) -> None:
        async with asyncio.timeout(20):
            assert [await self.results.get() for _ in results] == results
        assert self.results.empty()

    def say(self, *messages: FromEngine) -> None:
        if self.client:
            for message in messages:
                self.clients.post(self.client, message)
            self.clients.flush()


@asynccontextmanager
async def caged(folder: Path, canary: Canary) -> AsyncIterator[Cage]:
    address = f"ipc://{folder}/engine"
    with Clients(address) as clients:
        cage = Cage(clients)
        cage.watching = asyncio.create_task(canary.watch(address, lambda result, _: cage.results.put_nowait(result)))
        try:
            yield cage
        finally:
            cage.watching.cancel()
            await asyncio.wait({cage.watching})


async def test_it_asks_an_idle_engine_for_one_token_again_and_again(tmp_path: Path) -> None:
    async with caged(tmp_path, QUICK) as cage:
        for _ in range(3):
            submission = await cage.submission()
            assert (submission.max_tokens, submission.grammar) == (1, "")
            cage.say(*tokens(submission.request_id))
        await cage.reported(["ok", "ok", "ok"])
        assert not cage.watching.done()


@pytest.mark.parametrize("status", [BUSY, LOADING])
async def test_it_asks_nobody_who_has_other_things_to_do(status: Status, tmp_path: Path) -> None:
    async with caged(tmp_path, QUICK) as cage:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await cage.submission(status)
        assert cage.results.empty()


async def test_an_engine_that_does_not_answer_is_given_up_after_so_many_times(tmp_path: Path) -> None:
    async with caged(tmp_path, QUICK) as cage:
        for _ in range(2):
            submission = await cage.submission()
            cage.say(Admitted(submission.request_id))
            assert await cage.aborted() == submission.request_id
        async with asyncio.timeout(20):
            await cage.watching
        await cage.reported(["timeout", "timeout"])


async def test_one_good_token_makes_up_for_failures(tmp_path: Path) -> None:
    async with caged(tmp_path, QUICK) as cage:
        for reason in ("error", "length", "error"):
            submission = await cage.submission()
            cage.say(*tokens(submission.request_id, reason))
        await cage.reported(["error", "ok", "error"])
        assert not cage.watching.done()


async def test_a_refusal_counts_for_nothing(tmp_path: Path) -> None:
    async with caged(tmp_path, QUICK) as cage:
        for _ in range(4):
            submission = await cage.submission()
            cage.say(Refused(submission.request_id, "queue_full"))
        cage.say(*tokens((await cage.submission()).request_id))
        await cage.reported(["ok"])


async def test_it_can_be_told_to_be_silent(tmp_path: Path) -> None:
    async with caged(tmp_path, Canary(interval=0)) as cage:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await cage.submission()
        assert not cage.watching.done()
