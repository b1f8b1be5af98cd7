"""What is told of an engine that lives, hangs, dies and comes back."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from exposed_metrics import Exposed
from llm_server.engine.types import (
    DecoderStatistics,
    EngineState,
    EngineStatistics,
    ModelInfo,
    PrefixCacheStatistics,
    Status,
    StepStats,
)
from llm_server.observability.engine_metrics import STATES, EngineMetrics
from llm_server.observability.engine_reports import EngineReports
from llm_server.observability.instruments import TEXT, exposition
from llm_server.observability.records import EngineBeat, EngineCancelled, EngineSteps, Record

MODEL = ModelInfo("m", 4096, "int4", "gpu", 1, 1)


@dataclass
class Seen:
    """Metrics of an engine with a clock that stands still until it is set."""

    now: float = 1000.0
    metrics: EngineMetrics = field(init=False)

    def __post_init__(self) -> None:
        self.metrics = EngineMetrics("m", clock=lambda: self.now)

    def read(self) -> Exposed:
        return Exposed(exposition(self.metrics.instruments(), TEXT).decode())

    def value(self, name: str, **labels: str) -> float:
        return self.read().value(name, **labels)

    def hear(self, state: EngineState, running: int = 0, waiting: int = 0) -> None:
        self.metrics.hear(Status("1", state, MODEL, running, waiting))


def statistics(queries: int, hits: int, evictions: int) -> EngineBeat:
    cache = PrefixCacheStatistics(100, 2, queries, hits, {"memory": evictions} if evictions else {})
    decoder = DecoderStatistics(10, 40, cache, 1, 2, 3, guard_forced_tokens=queries)
    return EngineBeat(EngineStatistics(0, 0, decoder), 5.0, 1)


@pytest.mark.parametrize("state", ["loading", "ready", "draining"])
def test_exactly_one_state_is_so(state: EngineState) -> None:
    seen = Seen()
    seen.hear(state, running=2, waiting=3)
    read = seen.read()
    states = {sample.labels["state"]: sample.value for sample in read.samples("llm_server_engine_state")}
    assert states == {each: float(each == state) for each in STATES}
    assert read.value("llm_server_engine_up") == (state == "ready")
    assert (read.value("vllm:num_requests_running"), read.value("vllm:num_requests_waiting")) == (2, 3)
    assert read.value("llm_server_build_info", device="gpu", quantization="int4", model="m") == 1


def test_an_engine_that_is_silent_is_not_up() -> None:
    seen = Seen()
    seen.hear("ready")
    seen.now += 9
    assert seen.value("llm_server_engine_up") == 1
    seen.now += 2
    assert seen.value("llm_server_engine_up") == 0


def test_an_engine_that_ends_runs_nothing_and_its_absence_is_measured_until_it_is_ready() -> None:
    seen = Seen()
    seen.hear("ready", running=4)
    seen.metrics.ended("killed")
    assert seen.value("llm_server_engine_state", state="unavailable") == 1
    assert seen.value("vllm:num_requests_running") == 0
    seen.now += 3
    seen.metrics.ended("crash")  # the next one did not get far
    seen.now += 4
    seen.hear("loading")
    assert seen.value("llm_server_engine_recovery_seconds_count") == 0
    seen.hear("ready")
    seen.hear("ready")
    read = seen.read()
    assert (
        read.value("llm_server_engine_recovery_seconds_count"),
        read.value("llm_server_engine_recovery_seconds_sum"),
    ) == (1, 7)
    assert read.value("llm_server_engine_restarts_total") == 2
    assert read.value("llm_server_engine_restarts_total", reason="watchdog") == 0


def test_what_engines_count_is_added_up_over_their_lives() -> None:
    seen = Seen()
    for source, beat in (("a", statistics(10, 4, 0)), ("a", statistics(15, 6, 2)), ("b", statistics(3, 0, 1))):
        seen.metrics.beat(source, beat)
    read = seen.read()
    assert read.value("vllm:prefix_cache_queries_total") == 18
    assert read.value("vllm:prefix_cache_hits_total") == 6
    assert read.value("llm_server_prefix_cache_evictions_total", reason="memory") == 3
    assert read.value("llm_server_guard_forced_tokens_total") == 18
    assert read.value("vllm:kv_cache_usage_perc") == 0.25
    assert read.value("vllm:cache_config_info", num_gpu_blocks="40") == 1


def test_gauges_of_an_engine_vanish_with_its_own_connection_alone() -> None:
    seen = Seen()
    seen.metrics.beat("old", statistics(1, 1, 0))
    seen.metrics.beat("new", statistics(1, 1, 0))
    seen.metrics.forget("old")
    assert "llm_server_prefix_cache_bytes" in seen.read()
    seen.metrics.forget("new")
    read = seen.read()
    assert "llm_server_prefix_cache_bytes" not in read
    assert "llm_server_mlx_memory_bytes" not in read
    assert read.value("llm_server_engine_last_step_timestamp_seconds") == 5.0


@pytest.mark.parametrize(
    ("step", "phase", "batch"),
    [
        (StepStats(1, 100, 0, 0.1), "prefill", "1"),
        (StepStats(2, 0, 2, 0.1), "decode", "2-4"),
        (StepStats(8, 100, 7, 0.1), "mixed", "5-8"),
        (StepStats(33, 0, 33, 0.1), "decode", "33+"),
    ],
)
def test_a_step_is_told_by_what_it_did_and_for_how_many(step: StepStats, phase: str, batch: str) -> None:
    seen = Seen()
    seen.metrics.stepped([step])
    read = seen.read()
    assert read.value("llm_server_engine_step_seconds_count", phase=phase, batch=batch) == 1
    assert read.value("vllm:iteration_tokens_total_sum") == step.prefill_tokens + step.decoded_tokens
    assert read.value("llm_server_engine_batch_size_sum") == step.batch_size


def test_a_canary_that_fails_has_no_duration() -> None:
    seen = Seen()
    seen.metrics.canary("ok", 0.5)
    seen.metrics.canary("timeout", 30)
    read = seen.read()
    assert read.value("llm_server_canary_total", result="timeout") == 1
    assert (read.value("llm_server_canary_seconds_count"), read.value("llm_server_canary_seconds_sum")) == (1, 0.5)


def test_steps_are_reported_together_and_none_is_lost() -> None:
    sent: list[Record] = []
    reports = EngineReports(lambda *records: sent.extend(records))
    for _ in range(150):
        reports.step(StepStats(1, 0, 1, 0.01))
    reports.beat(EngineStatistics(0, 0))
    reports.beat(EngineStatistics(0, 0))
    reports.cancelled("decode", 0.2)
    reports.cancelled("queue", None)
    steps = [len(record.steps) for record in sent if isinstance(record, EngineSteps)]
    assert sum(steps) == 150
    assert len(steps) < 5
    beats = [record for record in sent if isinstance(record, EngineBeat)]
    assert len(beats) == 2
    assert beats[0].last_step > 0
    assert [record for record in sent if isinstance(record, EngineCancelled)] == [EngineCancelled("decode", 0.2)]
