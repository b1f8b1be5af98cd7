"""What is made of one generation's moments: records that add up, whatever becomes of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from opentelemetry.trace import NoOpTracer
from starlette.types import Message, Receive, Scope, Send

from llm_server.conversation import Conversation, GenerationRequest
from llm_server.engine.types import Finished, Started
from llm_server.errors import BadRequest, EngineStalled, EngineUnavailable, GenerationFailed, RequestTimeout
from llm_server.events import FinishReason, Usage
from llm_server.observability.exchange import Exchange
from llm_server.observability.instruments import TEXT
from llm_server.observability.metrics import Metrics
from llm_server.observability.middleware import Observed
from llm_server.observability.records import GenerationDone, GenerationRefused, HttpDone, Progress, Record
from llm_server.observability.routes import Routes
from llm_server.observability.telemetry import Telemetry
from llm_server.observability.watch import GenerationWatch
from llm_server.observation import Outcome


@dataclass
class Generation:
    """One that is watched, on a clock that moves when told to."""

    now: float = 100.0
    sent: list[Record] = field(default_factory=list)
    late: list[Exchange] = field(default_factory=list)
    exchange: Exchange = field(default_factory=lambda: Exchange(arrived=100.0))
    watch: GenerationWatch = field(init=False)

    def __post_init__(self) -> None:
        request = GenerationRequest(Conversation(()))
        self.watch = GenerationWatch(
            request,
            self.exchange,
            lambda *records: self.sent.extend(records),
            NoOpTracer(),
            "m",
            self.late.append,
            lambda: self.now,
        )

    def admit(self) -> None:
        self.now += 0.25
        self.watch.rendered(10)
        self.watch.guarded()
        self.watch.admitted(50)

    def start(self) -> None:
        self.now += 0.5
        self.watch.started(Started("1", 0.5, 4, 7))

    def decode(self, *gaps: float) -> None:
        for gap in gaps:
            self.now += gap
            self.watch.decoded(1)

    def end(self, reason: FinishReason | None, tokens: int, error: Exception | None = None) -> GenerationDone:
        outcome = Outcome(reason, Usage(10, 4, tokens, 1), {"analysis": 1}, ["tool_name"] * 2, 0, 1, 7, "message 0")
        self.watch.ended(outcome, error)
        done = self.sent[-1]
        assert isinstance(done, GenerationDone)
        return done

    @property
    def progress(self) -> list[Progress]:
        return [record for record in self.sent if isinstance(record, Progress)]


def test_progress_is_told_each_second_and_adds_up() -> None:
    generation = Generation()
    generation.admit()
    generation.start()
    generation.decode(*[0.25] * 21)
    assert len(generation.progress) == 6, (
        "before the end: with the first token, which took a second, and then each second"
    )
    generation.end("stop", 21)
    assert sum(progress.tokens for progress in generation.progress) == 21
    assert sum(sum(progress.gaps.counts) for progress in generation.progress) == 20
    assert sum(progress.gaps.total for progress in generation.progress) == pytest.approx(20 * 0.25)
    assert [progress.prompt_tokens for progress in generation.progress if progress.first_token is not None] == [10]
    assert generation.progress[0].first_token == pytest.approx(1.0)
    assert sum(progress.cached_tokens for progress in generation.progress) == 4


def test_tokens_that_come_together_share_their_gap() -> None:
    generation = Generation()
    generation.admit()
    generation.start()
    generation.decode(0.1)
    generation.now += 0.3
    generation.watch.decoded(3)
    generation.end("stop", 4)
    (gaps,) = (progress.gaps for progress in generation.progress if progress.gaps.counts)
    assert sum(gaps.counts) == 3
    assert gaps.total == pytest.approx(0.3)
    assert gaps.largest == pytest.approx(0.1)


def test_the_engines_own_times_are_told_and_those_of_corrections_with_them() -> None:
    generation = Generation()
    generation.admit()
    for _ in range(2):
        generation.start()
        generation.decode(0.1, 0.1)
        generation.watch.left_engine(Finished("1", "stop", 4, 1.0, 2.0, 3.0))
    done = generation.end("tool_calls", 4)
    assert (done.queue, done.prefill, done.decode) == (2.0, 4.0, 6.0)
    assert (done.finished_reason, done.tool_calls, done.repairs) == ("stop", 1, {"tool_name": 2})
    assert done.channel_tokens == {"analysis": 1, "unfinished": 3}
    assert done.diverged_in == "message 0"


@pytest.mark.parametrize(
    ("reached", "phase", "known"),
    [("queue", "queue", ()), ("prefill", "prefill", ("queue",)), ("decode", "decode", ("queue", "prefill"))],
)
def test_a_generation_that_is_given_up_tells_how_far_it_came(reached: str, phase: str, known: tuple[str, ...]) -> None:
    generation = Generation()
    generation.admit()
    if reached != "queue":
        generation.start()
    if reached == "decode":
        generation.decode(0.1, 0.1)
    generation.exchange.disconnected = True
    done = generation.end(None, 2)
    assert (done.finished_reason, done.phase, done.cause) == ("abort", phase, "disconnect")
    assert {name for name in ("queue", "prefill", "decode") if getattr(done, name) is not None} == set(known)


@pytest.mark.parametrize(
    ("error", "tokens", "stage", "cause"),
    [
        (RequestTimeout("Slow."), 0, "ttft", "timeout"),
        (RequestTimeout("Slow."), 2, "total", "timeout"),
        (EngineStalled("Silent."), 2, "stall", None),
        (EngineUnavailable("Gone."), 2, None, None),
        (GenerationFailed("No."), 0, None, None),
    ],
)
def test_a_failure_is_told_by_its_stage(error: Exception, tokens: int, stage: str | None, cause: str | None) -> None:
    generation = Generation()
    generation.admit()
    generation.start()
    generation.decode(*[0.1] * tokens)
    done = generation.end(None, tokens, error)
    assert (done.finished_reason, done.stage, done.cause) == ("error", stage, cause)
    assert done.error == getattr(error, "code")  # noqa: B009 (it is no ServerError to the type checker)


def test_a_request_that_times_out_before_its_prompt_is_read_did_so_in_the_queue() -> None:
    generation = Generation()
    generation.admit()
    done = generation.end(None, 0, RequestTimeout("Slow."))
    assert (done.stage, done.phase, done.cause) == ("queue", "queue", "timeout")


@pytest.mark.parametrize(
    ("error", "rendered", "record"),
    [
        (BadRequest("No schema."), True, GenerationRefused(grammar_failed=True)),
        (BadRequest("No message."), False, GenerationRefused()),
        (RequestTimeout("Slow."), False, GenerationRefused(timed_out=True)),
        (asyncio.CancelledError(), True, GenerationRefused()),
    ],
)
def test_a_refusal_is_told_by_what_it_was_about(
    error: BaseException, rendered: bool, record: GenerationRefused
) -> None:
    generation = Generation()
    if rendered:
        generation.watch.rendered(10)
    generation.watch.refused(error)
    assert generation.sent == [record]


def test_a_generation_that_outlives_its_request_is_written_down_by_itself() -> None:
    for is_over in (False, True):
        generation = Generation()
        generation.admit()
        generation.exchange.over = is_over
        generation.end("stop", 1)
        assert generation.late == ([generation.exchange] if is_over else [])


def test_a_turn_without_an_http_request_has_a_line_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    async def never(_: str) -> bytes:
        raise OSError

    telemetry = Telemetry("m", Routes([]), lambda *_: None, never)
    with caplog.at_level("INFO"):
        watch = telemetry.observe(GenerationRequest(Conversation(())))
        watch.rendered(10)
        watch.guarded()
        watch.admitted(50)
        watch.started(Started("1", 0.5, 4, -1))
        watch.decoded(1)
        watch.ended(Outcome("stop", Usage(10, 4, 1, 0), {}, [], 0, 0, -1, ""), None)
    (line,) = caplog.records
    assert (line.getMessage(), vars(line)["prompt_tokens"], vars(line)["cached_tokens"]) == (
        "generation on websocket",
        10,
        4,
    )


async def test_a_stream_whose_reader_does_not_read_is_told_by_that() -> None:
    metrics = Metrics("m", "api")

    async def never(_: str) -> bytes:
        raise OSError

    def sink(*records: Record) -> None:
        sent.extend(records)
        for record in records:
            metrics.take("worker", record)

    async def app(_: Scope, __: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async with asyncio.timeout(0.05):
            await send({"type": "http.response.body", "body": b"x", "more_body": True})

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    sent: list[Record] = []
    observed = Observed(app, Telemetry("m", Routes([]), sink, never), unread_seconds=0.01)
    scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "state": {"request_id": "r"}}
    with pytest.raises(TimeoutError):
        await observed(scope, receive, send)
    (done,) = sent
    assert isinstance(done, HttpDone)
    assert done.write_timeout
    assert done.stalled is not None
    assert done.stalled >= 0.01
    assert b'llm_server_request_timeouts_total{stage="write"} 1.0' in metrics.exposition(TEXT)
