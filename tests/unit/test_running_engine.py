"""The engine is kept running, whatever it does; the engines here are small programs that do it on purpose."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from llm_server.engine.types import Status
from llm_server.heartbeat import Heartbeat
from llm_server.running_engine import MODEL_NOT_LOADABLE, Backoff, running_engine
from llm_server.settings import Settings
from processes import is_running, wait_until

STAND_IN = Path(__file__).parents[1] / "stand_in_engine.py"


@dataclass
class Observed:
    """What the caller of `running_engine` is told, and the notes that each engine leaves when it starts."""

    notes: Path
    ready: asyncio.Queue[Status] = field(default_factory=asyncio.Queue)
    failures: asyncio.Queue[int] = field(default_factory=asyncio.Queue)
    address: str = ""

    @property
    def starts(self) -> int:
        return len(list(self.notes.iterdir()))

    def has_socket(self) -> bool:
        return Path(self.address.removeprefix("ipc://")).exists()

    async def pid_of_ready_engine(self) -> int:
        async with asyncio.timeout(30):
            return int((await self.ready.get()).incarnation)


@pytest.fixture
def observed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Observed:
    notes = tmp_path / "notes"
    notes.mkdir()
    monkeypatch.setenv("STAND_IN_ENGINE", str(notes))
    return Observed(notes)


@asynccontextmanager
async def engine(behaviour: str, observed: Observed, *, silence: int = 600) -> AsyncIterator[None]:
    async with running_engine(
        Settings(state_dir=observed.notes.parent / "state", model_aliases=("a-*", "b-*"), canary_interval=0),
        on_ready=observed.ready.put_nowait,
        on_failure=observed.failures.put_nowait,
        command=[sys.executable, str(STAND_IN), behaviour],
        backoff=Backoff(first=0.01, limit=3),
        heartbeat=Heartbeat(tick=0.05, limit=silence),
    ) as address:
        observed.address = address
        yield


async def test_an_engine_that_is_killed_is_started_again_at_the_same_address(observed: Observed) -> None:
    async with engine("well", observed):
        first = await observed.pid_of_ready_engine()
        os.kill(first, signal.SIGKILL)
        assert await observed.pid_of_ready_engine() != first
        addresses = {
            note.read_text().partition("LLM_ENGINE_ADDRESS=")[2].split()[0] for note in observed.notes.iterdir()
        }
        assert addresses == {observed.address}


async def test_a_silent_engine_is_killed_and_started_again(
    observed: Observed, capfd: pytest.CaptureFixture[str]
) -> None:
    async with engine("silent", observed, silence=4):
        first = await observed.pid_of_ready_engine()
        assert await observed.pid_of_ready_engine() != first
        assert not is_running(first)
    assert "in _answer" in capfd.readouterr().err, "where it hung is printed"


async def test_an_engine_that_loads_may_be_silent(observed: Observed) -> None:
    async with engine("slow to load", observed, silence=4):
        await observed.pid_of_ready_engine()
        assert observed.starts == 1


async def test_a_model_that_can_not_be_loaded_ends_it(observed: Observed, capfd: pytest.CaptureFixture[str]) -> None:
    async with engine("unloadable", observed), asyncio.timeout(30):
        assert await observed.failures.get() == MODEL_NOT_LOADABLE
    assert observed.starts == 1
    assert capfd.readouterr().err.splitlines() == ["stand-in: no such model"]


async def test_an_engine_that_always_crashes_is_tried_a_few_times(observed: Observed) -> None:
    async with engine("crash", observed):
        await asyncio.to_thread(wait_until, lambda: observed.starts == 1 + 3)
    assert observed.failures.empty(), "the API goes on answering without it"


@pytest.mark.parametrize("behaviour", ["well", "silent"])
async def test_nothing_is_left_when_the_context_is_left(observed: Observed, behaviour: str) -> None:
    async with engine(behaviour, observed):
        pid = await observed.pid_of_ready_engine()
        assert observed.has_socket()
    assert not is_running(pid)
    assert not observed.has_socket()


async def test_the_engine_gets_the_settings_of_the_caller(observed: Observed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_MODEL_ALIASES", "from-the-environment")
    async with engine("well", observed):
        await observed.pid_of_ready_engine()
    (note,) = observed.notes.iterdir()
    assert "LLM_MODEL_ALIASES=a-*,b-*" in note.read_text().splitlines()


def test_restarts_come_later_and_later() -> None:
    backoff = Backoff()
    now = 0.0
    delays = []
    for _ in range(5):
        delays.append(backoff.next_delay(now))
        now += delays[-1]
    assert delays == [1, 2, 4, 8, 16]


def test_five_restarts_in_ten_minutes_are_enough() -> None:
    backoff = Backoff(first=1, longest=1)
    assert [backoff.next_delay(100.0 * number) for number in range(5)] == [1] * 5
    assert backoff.exhausted(450)
    assert backoff.next_delay(450) == pytest.approx(600 + 1 - 450), "ten minutes after the first one"
    assert backoff.exhausted(602), "the second to the sixth are within ten minutes"
    assert not backoff.exhausted(1300)
    assert backoff.next_delay(1300) == 1
