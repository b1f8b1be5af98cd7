"""What keeps the machine awake: a real process, held while there is work and gone afterwards."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from fakes import MODEL
from llm_server.awake import Awake
from llm_server.engine.types import Status
from processes import running_processes

MARK = "import signal; signal.pause()  # keeps a machine awake"


@pytest.fixture
def awake() -> Iterator[Awake]:
    keeper = Awake((sys.executable, "-c", MARK))
    yield keeper
    keeper.release()


def report(running: int = 0, waiting: int = 0) -> Status:
    return Status("engine-1", "ready", MODEL, running, waiting)


def holders() -> int:
    return sum(MARK in entry.command for entry in running_processes())


def test_a_single_token_keeps_nobody_awake(awake: Awake) -> None:
    for _ in range(3):
        awake.hear(report(running=1))
        awake.hear(report())
    assert not awake.is_held
    assert holders() == 0


@pytest.mark.parametrize("work", [report(running=1), report(waiting=1)])
def test_work_keeps_it_awake_with_one_process(awake: Awake, work: Status) -> None:
    for _ in range(5):
        awake.hear(work)
    assert awake.is_held
    assert holders() == 1


def test_it_may_sleep_again_when_the_work_is_done_for_a_while(awake: Awake) -> None:
    awake.hear(report(running=1))
    awake.hear(report(running=1))
    for _ in range(4):
        awake.hear(report())
    assert awake.is_held
    awake.hear(report())
    assert not awake.is_held
    assert holders() == 0


def test_a_pause_between_two_answers_does_not_count(awake: Awake) -> None:
    for _ in range(3):
        for status in (report(running=1), report(running=1), report(), report()):
            awake.hear(status)
    assert awake.is_held


def test_without_a_command_nothing_is_held() -> None:
    nothing = Awake(())
    for _ in range(5):
        nothing.hear(report(running=1))
    assert not nothing.is_held
    nothing.release()


def test_a_command_that_is_missing_is_tried_once(caplog: pytest.LogCaptureFixture) -> None:
    keeper = Awake(("/no/such/program",))
    for _ in range(5):
        keeper.hear(report(running=1))
    assert not keeper.is_held
    assert len(caplog.records) == 1
