"""What processes tell the owner of the metrics: one compact record for a finished request, a step, a beat.

Counts, seconds and names from bounded sets: nothing that a client wrote has a place in a record, except a trace id,
which is 32 hexadecimal digits. What is counted is sent as what was added since the last time, so that an owner can
just add, whoever dies in between. Encoded with msgpack; a frame holds a list of records.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from llm_server.engine.types import EngineStatistics, Phase, StepStats

ProcessName: TypeAlias = Literal["supervisor", "api", "engine"]
FinishedReason: TypeAlias = Literal["stop", "length", "abort", "error"]
Cause: TypeAlias = Literal["disconnect", "timeout", "shutdown", "api"]
Stage: TypeAlias = Literal["queue", "ttft", "stall", "total", "write"]


class Introduction(msgspec.Struct, frozen=True, tag=True):
    """A process has connected. `routes` are those that it serves: method, template, dialect."""

    process: ProcessName
    routes: list[tuple[str, str, str]] = []


class Counted(msgspec.Struct, frozen=True):
    """A `Tally` on its way."""

    counts: list[int] = []
    total: float = 0.0
    largest: float = 0.0


class Progress(msgspec.Struct, frozen=True, tag=True):
    """What one generation has added: tokens, the gaps between them, and with the first one the prompt."""

    tokens: int = 0
    gaps: Counted = Counted()
    first_token: float | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    trace_id: str = ""


class GenerationDone(msgspec.Struct, frozen=True, tag=True):
    """An admitted generation has ended. Seconds are wall time, None for phases that it did not come to.

    `error` is the code of what it failed with. `phase` and `cause` are set if somebody or something gave it up.
    """

    finished_reason: FinishedReason
    seconds: float
    queue: float | None
    prefill: float | None
    decode: float | None
    first_output: float | None
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    max_tokens: int
    grammar: float | None = None
    error: str = ""
    phase: Phase | None = None
    cause: Cause | None = None
    stage: Stage | None = None
    channel_tokens: dict[str, int] = {}
    repairs: dict[str, int] = {}
    corrections: int = 0
    tool_calls: int = 0
    diverged_in: str = ""
    trace_id: str = ""


class GenerationRefused(msgspec.Struct, frozen=True, tag=True):
    """A generation was not admitted. What the client was told is in `HttpDone`."""

    grammar_failed: bool = False
    timed_out: bool = False


class HttpDone(msgspec.Struct, frozen=True, tag=True):
    """A response has ended. `status` is 499 if the client left before it began.

    `error` is the code of a refusal, `stream_failed` that of a stream that ended with an error after its 200. `stalled`
    is how long a stream waited for its reader, None for what is no stream.
    """

    route: str
    method: str
    status: int
    dialect: str
    seconds: float
    error: str = ""
    stream_failed: bool = False
    write_timeout: bool = False
    stalled: float | None = None
    trace_id: str = ""


class WorkerBeat(msgspec.Struct, frozen=True, tag=True):
    """How an API worker is. `inflight` has route, dialect and count; `rejected_seals` came since the last time."""

    inflight: list[tuple[str, str, int]]
    lag: Counted
    rejected_seals: int
    footprint: int


class EngineSteps(msgspec.Struct, frozen=True, tag=True):
    steps: list[StepStats]


class EngineBeat(msgspec.Struct, frozen=True, tag=True):
    """How the engine is. `last_step` in Unix time, 0 before the first one."""

    statistics: EngineStatistics
    last_step: float
    footprint: int


class EngineCancelled(msgspec.Struct, frozen=True, tag=True):
    """A slot is free, so many seconds after its request was given up."""

    phase: Phase
    seconds: float


class Dropped(msgspec.Struct, frozen=True, tag=True):
    """So many records were lost on the way, because the owner was away or slow."""

    records: int


Record: TypeAlias = (
    Introduction
    | Progress
    | GenerationDone
    | GenerationRefused
    | HttpDone
    | WorkerBeat
    | EngineSteps
    | EngineBeat
    | EngineCancelled
    | Dropped
)


class Scrape(msgspec.Struct, frozen=True, tag=True):
    """Asks the owner for all metrics in this content type. The answer is their text, and the end of the connection."""

    content_type: str


Message: TypeAlias = Record | Scrape
