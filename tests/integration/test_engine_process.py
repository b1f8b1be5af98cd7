"""An engine in a process of its own, clients in others, and what each does when the other is killed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from llm_server.conversation import Sampling
from llm_server.engine.client import EngineClient, TokenStream
from llm_server.engine.types import Finished, Started, Submit, Tokens
from llm_server.errors import ContextTooLong, EngineUnavailable, Overloaded
from processes import is_running, wait_until
from random_engine import CONTEXT_LENGTH
from random_model import VOCABULARY, RandomModel

TESTS = Path(__file__).parents[1]
ENDLESS = CONTEXT_LENGTH
GREEDY = Sampling(temperature=0.0)


def submission(
    request_id: str, *, prompt: int = 5, max_tokens: int = ENDLESS, sampling: Sampling = GREEDY, seed: int = 0
) -> Submit:
    tokens = random.Random(seed).choices(range(VOCABULARY), k=prompt)
    return Submit(request_id, tokens, max_tokens, [], sampling)


class EngineProcess:
    """Starts engines at one address, one after the other or as often as a test likes."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.address = f"ipc://{folder / 'engine.sock'}"
        self._stack = stack

    def start(self, *command: str, **variables: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command or (sys.executable, str(TESTS / "random_engine.py")),
            env=os.environ
            | {"LLM_ENGINE_ADDRESS": self.address, "PYTHONPATH": f"{TESTS.parent / 'service'}:{TESTS}"}
            | {name: str(value) for name, value in variables.items()},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            pass_fds=[int(variables["PARENT_LIFELINE_FD"])] if "PARENT_LIFELINE_FD" in variables else [],
        )
        self._stack.callback(_end, process)
        return process

    @asynccontextmanager
    async def client(self, *, ready: bool = True, stall_seconds: float = 30.0) -> AsyncIterator[EngineClient]:
        async with EngineClient(self.address, stall_seconds=stall_seconds) as client:
            if ready:
                async with asyncio.timeout(60):
                    await client.wait_ready()
            yield client


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EngineProcess]:
    with ExitStack() as stack:
        yield EngineProcess(tmp_path, stack)


async def until(condition: Callable[[], object], *, seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


async def first_tokens(stream: TokenStream) -> Tokens:
    async with asyncio.timeout(60):
        async for message in stream:
            if isinstance(message, Tokens):
                return message
    raise AssertionError("a stream has tokens")


async def whole(stream: TokenStream) -> tuple[list[int], Finished]:
    tokens: list[int] = []
    async with asyncio.timeout(60):
        async for message in stream:
            match message:
                case Tokens():
                    tokens += message.tokens
                case Finished():
                    return tokens, message
                case Started():
                    pass
    raise AssertionError("a stream ends with Finished")


async def unavailable(stream: TokenStream) -> bool:
    """Whether the stream ends with `EngineUnavailable` rather than with `Finished`."""
    try:
        await whole(stream)
    except EngineUnavailable:
        return True
    return False


def idle(client: EngineClient) -> bool:
    return client.status is not None and (client.status.running, client.status.waiting) == (0, 0)


async def test_twenty_streams_at_once_are_each_right(engine: EngineProcess) -> None:
    engine.start()
    model = RandomModel()
    async with engine.client() as client:
        submissions = [submission(f"r{i}", prompt=1 + 8 * i, max_tokens=12, seed=i) for i in range(20)]
        streams = [await client.submit(each) for each in submissions]
        answers = await asyncio.gather(*(whole(stream) for stream in streams))
    for each, (tokens, finished) in zip(submissions, answers, strict=True):
        assert tokens == model.greedy(each.prompt, 12)
        assert (finished.request_id, finished.reason) == (each.request_id, "length")


async def test_while_the_model_loads_clients_are_answered_and_refused(engine: EngineProcess, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    engine.start(RANDOM_ENGINE_GATE=gate)
    async with engine.client(ready=False) as client:
        await until(lambda: client.status)
        assert client.status is not None
        assert (client.status.state, client.status.model) == ("loading", None)
        with pytest.raises(EngineUnavailable):
            await client.submit(submission("early"))
        gate.touch()
        async with asyncio.timeout(30):
            status = await client.wait_ready()
        assert status.model is not None
        assert status.model.name == "random"
        tokens, _ = await whole(await client.submit(submission("in time", max_tokens=3)))
        assert len(tokens) == 3


async def test_a_killed_engine_fails_every_stream_and_its_successor_is_found(engine: EngineProcess) -> None:
    first = engine.start(LLM_MAX_CONCURRENCY=2, LLM_PREFILL_STEP_SIZE=16)
    async with engine.client() as client:
        earlier = client.status
        streams = [await client.submit(submission(f"r{i}", prompt=2000 if i == 1 else 5)) for i in range(4)]
        await first_tokens(streams[0])
        first.kill()
        async with asyncio.timeout(5):
            assert all(await asyncio.gather(*(unavailable(stream) for stream in streams)))
        assert client.status is None
        with pytest.raises(EngineUnavailable):
            await client.submit(submission("nobody there"))
        engine.start()
        async with asyncio.timeout(60):
            status = await client.wait_ready()
        assert earlier is not None
        assert status.incarnation != earlier.incarnation
        # Nothing that was meant for the engine before has reached this one.
        assert idle(client)
        tokens, _ = await whole(await client.submit(submission("again", max_tokens=4)))
        assert len(tokens) == 4


@pytest.mark.parametrize("state", ["queue", "prefill", "decode"])
async def test_closing_a_stream_frees_its_slot(engine: EngineProcess, state: str) -> None:
    engine.start(LLM_MAX_CONCURRENCY=1 if state == "queue" else 2, LLM_PREFILL_STEP_SIZE=16)
    async with engine.client() as client:
        other = await client.submit(submission("other"))
        await first_tokens(other)
        stream = await client.submit(submission("victim", prompt=5 if state == "decode" else 15_000))
        if state == "decode":
            await first_tokens(stream)
        waiting = 1 if state == "queue" else 0
        await until(lambda: client.status and (client.status.running, client.status.waiting) == (2 - waiting, waiting))
        stream.close()
        stream.close()
        await until(lambda: client.status and (client.status.running, client.status.waiting) == (1, 0), seconds=5)
        await first_tokens(other)
        other.close()
        await until(lambda: idle(client))


async def test_a_killed_client_frees_its_slots_and_disturbs_nobody(engine: EngineProcess) -> None:
    engine.start(LLM_MAX_CONCURRENCY=3)
    async with engine.client() as client:
        kept = await client.submit(submission("kept"))
        worker = engine.start(sys.executable, __file__, engine.address)
        await until(lambda: client.status and (client.status.running, client.status.waiting) == (3, 3))
        worker.kill()
        await until(lambda: client.status and (client.status.running, client.status.waiting) == (1, 0))
        await first_tokens(kept)


async def test_a_reader_that_never_reads_holds_up_nobody(engine: EngineProcess) -> None:
    engine.start()
    async with engine.client() as client, engine.client() as another:
        unread = await client.submit(submission("unread", max_tokens=500))
        streams = [await each.submit(submission("read", max_tokens=500)) for each in (client, another)]
        for tokens, _ in await asyncio.gather(*(whole(stream) for stream in streams)):
            assert len(tokens) == 500
        assert len((await whole(unread))[0]) == 500


async def test_refusals_are_typed(engine: EngineProcess) -> None:
    engine.start(LLM_MAX_CONCURRENCY=1, LLM_MAX_QUEUE=1)
    async with engine.client() as client:
        streams = [await client.submit(submission(f"r{i}")) for i in range(2)]
        with pytest.raises(Overloaded) as refused:
            await client.submit(submission("one too many"))
        assert refused.value.retry_after is not None
        assert refused.value.retry_after >= 1
        with pytest.raises(ContextTooLong) as long:
            await client.submit(submission("long", prompt=CONTEXT_LENGTH))
        assert (long.value.limit, long.value.prompt) == (CONTEXT_LENGTH, CONTEXT_LENGTH)
        for stream in streams:
            stream.close()
        await until(lambda: idle(client))
        _, finished = await whole(await client.submit(Submit("bad", [VOCABULARY], 5, [], GREEDY)))
        assert (finished.reason, "vocabulary" in finished.message) == ("error", True)


async def test_sigterm_refuses_the_new_finishes_the_old_and_exits_with_0(engine: EngineProcess) -> None:
    process = engine.start()
    async with engine.client() as client:
        stream = await client.submit(submission("old", max_tokens=600))
        await first_tokens(stream)
        process.send_signal(signal.SIGINT)  # Ctrl-C reaches the whole group; what it means is for the parent to say
        process.send_signal(signal.SIGTERM)
        await until(lambda: client.status and client.status.state == "draining")
        with pytest.raises(EngineUnavailable):
            await client.submit(submission("new"))
        tokens, finished = await whole(stream)
        assert (len(tokens), finished.reason) == (599, "length")
        await until(lambda: process.poll() is not None)
        assert process.returncode == 0
        await until(lambda: client.status is None)


async def test_sigterm_waits_no_longer_than_the_shutdown_timeout(engine: EngineProcess) -> None:
    process = engine.start(LLM_SHUTDOWN_TIMEOUT=0.1)
    async with engine.client() as client:
        stream = await client.submit(submission("endless"))
        await first_tokens(stream)
        process.send_signal(signal.SIGTERM)
        assert await unavailable(stream)
        await until(lambda: process.poll() is not None)
        assert process.returncode == 0


async def test_sigterm_while_loading_exits_at_once(engine: EngineProcess, tmp_path: Path) -> None:
    process = engine.start(RANDOM_ENGINE_GATE=tmp_path / "never")
    async with engine.client(ready=False) as client:
        await until(lambda: client.status)
        process.send_signal(signal.SIGTERM)
        await until(lambda: process.poll() is not None, seconds=5)
        assert process.returncode == 0


async def test_a_stuck_engine_fails_its_streams_and_may_come_back(engine: EngineProcess) -> None:
    process = engine.start()
    async with engine.client(stall_seconds=1.5) as client:
        streams = [await client.submit(submission(f"r{i}")) for i in range(3)]
        await asyncio.gather(*(first_tokens(stream) for stream in streams))
        process.send_signal(signal.SIGSTOP)
        assert all(await asyncio.gather(*(unavailable(stream) for stream in streams)))
        assert client.status is None
        process.send_signal(signal.SIGCONT)
        async with asyncio.timeout(30):
            await client.wait_ready()
        # It was told to drop what its clients had given up.
        await until(lambda: idle(client))
        tokens, _ = await whole(await client.submit(submission("again", max_tokens=4)))
        assert len(tokens) == 4


def test_an_engine_whose_parent_has_gone_ends(engine: EngineProcess, tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    process = engine.start(PARENT_LIFELINE_FD=read_end, RANDOM_ENGINE_GATE=tmp_path / "never")
    os.close(read_end)
    wait_until(lambda: (tmp_path / "engine.sock").exists())
    assert is_running(process.pid)
    os.close(write_end)
    wait_until(lambda: process.poll() is not None)


def test_a_model_that_can_not_be_loaded_ends_it_with_one_line_and_78(engine: EngineProcess, tmp_path: Path) -> None:
    process = engine.start(
        sys.executable, "-m", "llm_server.engine.process", LLM_MODEL_PATH=tmp_path / "none", LLM_LOG_LEVEL="error"
    )
    _, said = process.communicate(timeout=60)
    assert process.returncode == 78
    assert said.startswith("llm-server: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("address", ["", "ipc:///nowhere/at/all/engine.sock"])
def test_an_impossible_address_ends_it_with_one_line_and_2(engine: EngineProcess, address: str) -> None:
    process = engine.start(LLM_ENGINE_ADDRESS=address)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "LLM_ENGINE_ADDRESS" in said
    assert said.count("\n") == 1


async def _hold_five_requests(address: str) -> None:
    """What the worker that is going to be killed does."""
    async with EngineClient(address) as client:
        await client.wait_ready()
        for number in range(5):
            await client.submit(submission(f"worker {number}"))
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_hold_five_requests(sys.argv[1]))
