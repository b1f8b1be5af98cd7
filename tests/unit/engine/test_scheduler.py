"""Admission: who runs, who waits, who is refused, and what a refused one is told."""

from __future__ import annotations

import pytest

from llm_server.engine.scheduler import Scheduler


def full(*, running: int, waiting: int, max_running: int = 2, max_waiting: int = 3) -> Scheduler[str]:
    """A scheduler with `r0`, `r1`, … running and `w0`, `w1`, … waiting."""
    scheduler = Scheduler[str](max_running=max_running, max_waiting=max_waiting)
    for number in range(running):
        scheduler.join(f"r{number}")
    scheduler.start(0.0)
    for number in range(waiting):
        scheduler.join(f"w{number}")
    return scheduler


@pytest.mark.parametrize(
    ("running", "waiting", "max_running", "max_waiting", "has_room"),
    [
        (0, 0, 1, 0, True),  # nobody may wait, yet a slot is free
        (1, 0, 1, 0, False),
        (0, 1, 1, 0, False),  # the free slot is already promised
        (1, 0, 1, 1, True),
        (1, 1, 1, 1, False),
        (2, 2, 2, 3, True),
        (2, 3, 2, 3, False),
        (1, 3, 2, 3, True),
    ],
)
def test_room(running: int, waiting: int, max_running: int, max_waiting: int, has_room: bool) -> None:
    scheduler = full(running=running, waiting=waiting, max_running=max_running, max_waiting=max_waiting)
    assert scheduler.has_room is has_room
    assert (scheduler.running, scheduler.waiting) == (running, waiting)


def test_requests_start_in_the_order_they_came_and_no_more_than_may_run() -> None:
    scheduler = full(running=2, waiting=3)
    assert scheduler.start(1.0) == []
    scheduler.leave("r0", 1.0)
    scheduler.leave("r1", 1.0)
    assert scheduler.start(1.0) == ["w0", "w1"]
    assert (scheduler.running, scheduler.waiting) == (2, 1)


def test_one_that_leaves_the_queue_frees_its_place_and_changes_nobody_elses() -> None:
    scheduler = full(running=2, waiting=3)
    scheduler.leave("w1", 1.0)
    assert scheduler.has_room
    scheduler.join("late")
    scheduler.leave("r1", 1.0)
    scheduler.leave("r0", 1.0)
    assert scheduler.start(1.0) == ["w0", "w2"]
    scheduler.leave("w0", 1.0)
    assert scheduler.start(1.0) == ["late"]


def test_leaving_twice_or_unknown_changes_nothing() -> None:
    scheduler = full(running=2, waiting=1)
    scheduler.leave("r0", 1.0)
    scheduler.leave("r0", 1.0)
    scheduler.leave("nobody", 1.0)
    assert (scheduler.running, scheduler.waiting) == (1, 1)


@pytest.mark.parametrize("wrong", ["r0", "w0"])
def test_a_request_joins_once(wrong: str) -> None:
    with pytest.raises(AssertionError, match="joins once"):
        full(running=1, waiting=1).join(wrong)


def test_nobody_joins_a_full_queue() -> None:
    with pytest.raises(AssertionError, match="full"):
        full(running=2, waiting=3).join("one too many")


def after_runs_of(seconds: float) -> Scheduler[str]:
    """Four run at a time, seven wait, and each of those before has run for `seconds`."""
    scheduler = Scheduler[str](max_running=4, max_waiting=100)
    for _ in range(200):
        scheduler.join("earlier")
        scheduler.start(100.0)
        scheduler.leave("earlier", 100.0 + seconds)
    for number in range(4 + 7):
        scheduler.join(f"r{number}")
        scheduler.start(0.0)
    return scheduler


def test_retry_after_is_when_those_who_wait_have_started_at_the_latest_pace() -> None:
    # 12 s each, 4 at a time, 7 before the one who asks and its own.
    assert after_runs_of(12.0).retry_after == pytest.approx(12.0 * 8 / 4)


@pytest.mark.parametrize(("seconds", "expected"), [(0.01, 1.0), (1e6, 60.0)])
def test_retry_after_is_neither_at_once_nor_never(seconds: float, expected: float) -> None:
    assert after_runs_of(seconds).retry_after == expected


def test_those_who_leave_the_queue_say_nothing_about_how_long_requests_run() -> None:
    scheduler = full(running=2, waiting=3)
    scheduler.leave("w0", 1000.0)
    assert scheduler.retry_after == full(running=2, waiting=2).retry_after


def with_memory(*tokens: int, max_tokens: int) -> Scheduler[int]:
    """Requests 0, 1, … of so many tokens, in the queue."""
    scheduler = Scheduler[int](max_running=10, max_waiting=10, max_tokens=max_tokens)
    for key, count in enumerate(tokens):
        scheduler.join(key, count)
    return scheduler


@pytest.mark.parametrize(
    ("tokens", "running"),
    [
        ((10, 10, 10, 10), 3),  # each row is as long as the longest: 3 times 10
        ((10, 15, 1, 1), 2),  # 2 times 15; a third would be 3 times 15, however short it is
        ((15, 10), 2),
        ((31, 1), 1),
        ((10, 16, 1), 1),  # the second does not fit, and nobody overtakes it
    ],
)
def test_as_many_run_as_memory_holds_of_the_longest(tokens: tuple[int, ...], running: int) -> None:
    assert with_memory(*tokens, max_tokens=30).start(0.0) == list(range(running))


def test_who_waits_for_memory_starts_when_the_long_one_has_left() -> None:
    scheduler = with_memory(20, 10, 10, 10, max_tokens=30)
    assert scheduler.start(0.0) == [0]
    assert scheduler.start(1.0) == []
    scheduler.leave(0, 2.0)
    assert scheduler.start(2.0) == [1, 2, 3]


def test_one_that_is_longer_than_memory_holds_runs_alone() -> None:
    assert with_memory(500, 1, max_tokens=30).start(0.0) == [0]


def test_one_that_grows_takes_the_room_of_those_who_come() -> None:
    scheduler = with_memory(10, 10, 10, max_tokens=40)
    assert scheduler.start(0.0) == [0, 1, 2]
    scheduler.leave(2, 0.0)
    scheduler.join(3, 10)
    scheduler.grow(0, 20)
    assert scheduler.start(0.0) == []
