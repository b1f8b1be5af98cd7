"""From the processes that count to the one that owns the metrics: never waited for, bounded, and true after a death."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from exposed_metrics import Exposed
from llm_server.engine.types import EngineStatistics, StepStats
from llm_server.observability.instruments import OPENMETRICS, TEXT
from llm_server.observability.metrics import Metrics
from llm_server.observability.owner import owned_metrics, scraped
from llm_server.observability.records import (
    Counted,
    EngineBeat,
    EngineSteps,
    HttpDone,
    Introduction,
    ProcessName,
    Progress,
    WorkerBeat,
)
from llm_server.observability.sender import LENGTH, Sender

NewSender: TypeAlias = Callable[..., Sender]

ROUTE = ("POST", "/v1/chat/completions", "openai_chat")
DONE = HttpDone("/v1/chat/completions", "POST", 200, "openai_chat", 0.5)


def beat(inflight: int) -> WorkerBeat:
    return WorkerBeat([("/v1/chat/completions", "openai_chat", inflight)], Counted(), 0, 1000)


@pytest.fixture
def new_sender(tmp_path: Path) -> Iterator[NewSender]:
    """Makes senders to the owner in this folder."""
    with ExitStack() as senders:

        def new(
            process: ProcessName = "api", routes: list[tuple[str, str, str]] | None = None, **options: Any
        ) -> Sender:
            sender = Sender(str(tmp_path / "metrics"), Introduction(process, routes or []), **options)
            return senders.enter_context(closing(sender))

        yield new


@asynccontextmanager
async def owner(path: Path) -> AsyncIterator[Metrics]:
    metrics = Metrics("m", "supervisor")
    async with owned_metrics(str(path), metrics):
        yield metrics


async def until(path: Path, condition: Callable[[Exposed], object]) -> Exposed:
    """Ask the owner until what it answers is as wanted."""
    async with asyncio.timeout(20):
        while True:
            read = Exposed((await scraped(str(path), TEXT)).decode())
            if condition(read):
                return read


async def test_records_arrive_in_both_formats(tmp_path: Path, new_sender: NewSender) -> None:
    path = tmp_path / "metrics"
    async with owner(path):
        new_sender("api", [ROUTE])(DONE, Progress(tokens=7))
        read = await until(path, lambda read: read.value("vllm:generation_tokens_total"))
        openmetrics = Exposed((await scraped(str(path), OPENMETRICS)).decode(), openmetrics=True)
    for each in (read, openmetrics):
        assert each.value("llm_server_http_requests_total", status="200") == 1
        assert each.value("llm_server_http_requests_total", status="503") == 0
        assert each.value("vllm:generation_tokens_total") == 7


async def test_gauges_of_a_process_vanish_with_it_and_its_counts_stay(tmp_path: Path, new_sender: NewSender) -> None:
    path = tmp_path / "metrics"
    async with owner(path):
        first, second, engine = (new_sender(name) for name in ("api", "api", "engine"))
        first(beat(2), DONE)
        second(beat(3))
        engine(EngineBeat(EngineStatistics(1, 0), 5.0, 2000), EngineSteps([StepStats(1, 0, 1, 0.01)]))
        await until(path, lambda read: "llm_server_mlx_memory_bytes" in read)
        read = await until(path, lambda read: read.value("llm_server_http_inflight") == 5)
        assert read.value("llm_server_process_phys_footprint_bytes", process="api") == 2000
        first.close()
        engine.close()
        read = await until(path, lambda read: read.value("llm_server_http_inflight") == 3)
        read = await until(path, lambda read: "llm_server_mlx_memory_bytes" not in read)
    assert read.value("llm_server_http_requests_total") == 1
    assert read.value("llm_server_engine_step_seconds_count") == 1
    assert read.value("llm_server_process_phys_footprint_bytes", process="api") == 1000


async def test_records_wait_for_an_owner_who_is_late(tmp_path: Path, new_sender: NewSender) -> None:
    path = tmp_path / "metrics"
    now = 0.0
    sender = new_sender("api", clock=lambda: now)
    sender(DONE)
    async with owner(path):
        sender(DONE)  # too soon to try again
        now = 2.0
        sender(DONE)
        read = await until(path, lambda read: "llm_server_http_requests_total" in read)
    assert read.value("llm_server_http_requests_total") == 3


async def test_what_is_too_much_is_dropped_and_counted(tmp_path: Path, new_sender: NewSender) -> None:
    path = tmp_path / "metrics"
    now = 0.0
    sender = new_sender("engine", limit=1000, clock=lambda: now)
    for _ in range(100):
        sender(DONE)
    async with owner(path):
        now = 2.0
        sender()
        sender(DONE)
        read = await until(path, lambda read: read.value("llm_server_telemetry_dropped_total", process="engine"))
    arrived = read.value("llm_server_http_requests_total")
    assert 1 < arrived < 100
    assert read.value("llm_server_telemetry_dropped_total", process="engine") == 101 - arrived


def test_an_owner_who_does_not_read_holds_up_nobody(tmp_path: Path, new_sender: NewSender) -> None:
    path = tmp_path / "metrics"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        sender = new_sender("api", limit=10_000)
        for _ in range(20_000):
            sender(DONE)
        sender.close()


async def test_records_survive_a_break_of_the_connection(tmp_path: Path, new_sender: NewSender) -> None:
    path = tmp_path / "metrics"
    now = 0.0
    sender = new_sender("api", clock=lambda: now)
    async with owner(path):
        sender(DONE)
        await until(path, lambda read: "llm_server_http_requests_total" in read)
    sender(DONE)
    sender(DONE)
    path.unlink(missing_ok=True)
    async with owner(path):
        now = 2.0
        sender(DONE)
        read = await until(path, lambda read: "llm_server_http_requests_total" in read)
    assert read.value("llm_server_http_requests_total") >= 2


@pytest.mark.parametrize(
    "frame",
    [
        b"nonsense",
        LENGTH.pack(3) + b"\xff\xff\xff",
        LENGTH.pack(2**31),
        LENGTH.pack(9) + b"cut",
        LENGTH.pack(1) + b"\x90",
    ],
)
async def test_whoever_sends_nonsense_is_cut_off_and_nobody_else(
    frame: bytes, tmp_path: Path, new_sender: NewSender
) -> None:
    path = tmp_path / "metrics"
    async with owner(path):
        sender = new_sender("api")
        sender(DONE)
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(frame)
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        sender(DONE)
        await until(path, lambda read: read.value("llm_server_http_requests_total") == 2)


async def test_without_an_owner_a_scrape_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await scraped(str(tmp_path / "nobody"), TEXT)
