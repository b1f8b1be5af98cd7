"""Metrics of the engine: what it says of itself, what the supervisor sees of it, and what the machine makes of it."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Hashable, Iterator
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Final, Literal, TypeAlias, get_args

from llm_server import __version__
from llm_server.engine.types import EngineState, ModelInfo, Phase, Status, StepStats
from llm_server.observability import buckets
from llm_server.observability.instruments import Counter, Gauge, Histogram, Instrument
from llm_server.observability.records import EngineBeat, EngineCancelled
from llm_server.observability.request_metrics import ENGINE

EndReason: TypeAlias = Literal["crash", "abort", "killed", "watchdog", "canary"]
CanaryResult: TypeAlias = Literal["ok", "error", "timeout"]

STATES: Final = ("unavailable", *get_args(EngineState))
BATCHES: Final = ((1, "1"), (4, "2-4"), (8, "5-8"), (16, "9-16"), (32, "17-32"))
BEYOND: Final = "33+"

_FRESH_SECONDS: Final = 10.0
"""An engine that said nothing for so long is not up. It speaks twice a second."""

_STEP_PHASES: Final = ("prefill", "decode", "mixed")


class EngineMetrics:
    """Filled by the supervisor (`hear`, `ended`, `canary`) and from the engine's own records.

    What an engine counts since its start is added up over restarts. Its gauges vanish when it ends.
    """

    def __init__(self, model: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._own = (model, ENGINE)
        self._clock = clock
        self._status: Status | None = None
        self._heard = 0.0
        self._down_since: float | None = None
        self._source: Hashable = None
        self._beat: EngineBeat | None = None
        self._last_step = 0.0
        own = {"model_name": [model], "engine": [ENGINE]}
        self._routers_gauges(own)
        self.steps = Histogram(
            "llm_server_engine_step_seconds",
            "One step of the engine, by what it did and how many sequences were in it.",
            buckets.STEP,
            {"phase": _STEP_PHASES, "batch": [*(name for _, name in BATCHES), BEYOND]},
        )
        self.batch = Histogram("llm_server_engine_batch_size", "Sequences in a step.", buckets.BATCH, {})
        self.iteration = Histogram(
            "vllm:iteration_tokens_total", "Tokens read and generated per step.", buckets.ITERATION_TOKENS, own
        )
        self.queries = Counter("vllm:prefix_cache_queries", "Prompt tokens looked up in the prefix cache.", own)
        self.hits = Counter("vllm:prefix_cache_hits", "Prompt tokens found in the prefix cache.", own)
        self.restarts = Counter(
            "llm_server_engine_restarts",
            "Ends of the engine process after which it was started again.",
            {"reason": get_args(EndReason)},
        )
        self.recovery = Histogram(
            "llm_server_engine_recovery_seconds", "From the engine's end until it is ready again.", buckets.RECOVERY, {}
        )
        self.canaries = Counter(
            "llm_server_canary", "Generations of one token while nobody else asks.", {"result": get_args(CanaryResult)}
        )
        self.canary_seconds = Histogram("llm_server_canary_seconds", "Their duration.", buckets.CANARY, {})
        self.cancel = Histogram(
            "llm_server_cancel_latency_seconds",
            "From a request's being given up to its slot being free.",
            buckets.CANCEL,
            {"phase": get_args(Phase)},
        )
        self.forced = Counter("llm_server_guard_forced_tokens", "Tokens that a grammar alone decided.")
        self.evictions = Counter(
            "llm_server_prefix_cache_evictions", "Entries evicted.", {"reason": ("budget", "memory", "window", "reset")}
        )

    def _routers_gauges(self, own: dict[str, list[str]]) -> None:
        self.up = Gauge("llm_server_engine_up", "Whether the engine is ready and was heard of within 10 s.")
        self.state = Gauge("llm_server_engine_state", "1 for the state that it is in.", {"state": STATES})
        self.last_step = Gauge(
            "llm_server_engine_last_step_timestamp_seconds", "When the last step ended, 0 before the first."
        )
        self.running = Gauge("vllm:num_requests_running", "Requests in the batch.", own)
        self.waiting = Gauge("vllm:num_requests_waiting", "Requests in the queue.", own)
        self.kv_usage = Gauge("vllm:kv_cache_usage_perc", "KV cache in use, from 0 to 1.", own)
        self.kv_config = Gauge(
            "vllm:cache_config_info", "KV capacity in blocks.", {**own, "block_size": (), "num_gpu_blocks": ()}
        )
        self.memory = Gauge("llm_server_mlx_memory_bytes", "Memory as MLX counts it.", {"kind": ()})
        self.budget = Gauge("llm_server_memory_budget_bytes", "Memory that the device has for the model and all else.")
        self.cache_bytes = Gauge("llm_server_prefix_cache_bytes", "Size of the prefix cache.")
        self.cache_entries = Gauge("llm_server_prefix_cache_entries", "Prompts in the prefix cache.")
        self.build = Gauge(
            "llm_server_build_info",
            "What runs here.",
            dict.fromkeys(("version", "python", "platform", "mlx", "model", "quantization", "device"), ()),
        )

    @property
    def footprint(self) -> int | None:
        return self._beat.footprint if self._beat else None

    def instruments(self) -> Iterator[Instrument]:
        self._set_gauges()
        return (each for each in vars(self).values() if isinstance(each, Counter | Gauge | Histogram))

    # What the supervisor sees

    def hear(self, status: Status | None) -> None:
        """The engine has said how it is, or is known to be gone."""
        self._status, self._heard = status, self._clock()
        if status is not None and status.state == "ready" and self._down_since is not None:
            self.recovery.observe(value=self._clock() - self._down_since)
            self._down_since = None

    def ended(self, reason: EndReason) -> None:
        self.restarts.add(reason)
        self.hear(None)
        self._down_since = self._clock() if self._down_since is None else self._down_since

    def canary(self, result: CanaryResult, seconds: float) -> None:
        self.canaries.add(result)
        if result == "ok":
            self.canary_seconds.observe(value=seconds)

    # What the engine says

    def stepped(self, steps: list[StepStats]) -> None:
        for step in steps:
            self.steps.observe(_phase(step), _batch(step.batch_size), value=step.seconds)
            self.batch.observe(value=step.batch_size)
            self.iteration.observe(*self._own, value=step.prefill_tokens + step.decoded_tokens)

    def beat(self, source: Hashable, record: EngineBeat) -> None:
        """What was counted since the engine's start is added as far as it is new."""
        earlier = self._beat if self._source == source and self._beat else None
        self._source, self._beat = source, record
        self._last_step = record.last_step or self._last_step
        now, before = record.statistics.decoder, earlier.statistics.decoder if earlier else None
        cache, cache_before = now.prefix_cache, before.prefix_cache if before else None
        self.forced.add(by=now.guard_forced_tokens - (before.guard_forced_tokens if before else 0))
        self.queries.add(*self._own, by=cache.queries_tokens - (cache_before.queries_tokens if cache_before else 0))
        self.hits.add(*self._own, by=cache.hits_tokens - (cache_before.hits_tokens if cache_before else 0))
        for reason, count in cache.evictions.items():
            self.evictions.add(reason, by=count - (cache_before.evictions.get(reason, 0) if cache_before else 0))

    def cancelled(self, record: EngineCancelled) -> None:
        self.cancel.observe(record.phase, value=record.seconds)

    def forget(self, source: Hashable) -> None:
        if source == self._source:
            self._source, self._beat = None, None

    # What is so now

    def _set_gauges(self) -> None:
        fresh = self._status is not None and self._clock() - self._heard < _FRESH_SECONDS
        state = self._status.state if self._status else "unavailable"
        self.up.set(to=fresh and state == "ready")
        for each in STATES:
            self.state.set(each, to=each == state)
        self.last_step.set(to=self._last_step)
        self.running.set(*self._own, to=self._status.running if self._status else 0)
        self.waiting.set(*self._own, to=self._status.waiting if self._status else 0)
        self.build.clear()
        self.build.set(*_build(self._status.model if self._status else None, self._own[0]), to=1)
        known_of_engine = (
            self.kv_usage,
            self.kv_config,
            self.memory,
            self.budget,
            self.cache_bytes,
            self.cache_entries,
        )
        for gauge in known_of_engine:
            gauge.clear()
        if self._beat is not None:
            self._set_decoder(self._beat)

    def _set_decoder(self, beat: EngineBeat) -> None:
        decoder = beat.statistics.decoder
        self.memory.set("active", to=decoder.memory_active_bytes)
        self.memory.set("cache", to=decoder.memory_cache_bytes)
        self.memory.set("peak", to=decoder.memory_peak_bytes)
        self.cache_bytes.set(to=decoder.prefix_cache.bytes)
        self.cache_entries.set(to=decoder.prefix_cache.entries)
        if decoder.memory_budget_bytes:
            self.budget.set(to=decoder.memory_budget_bytes)
        if decoder.kv_tokens_capacity:
            self.kv_usage.set(*self._own, to=decoder.kv_tokens / decoder.kv_tokens_capacity)
            self.kv_config.set(*self._own, "1", str(decoder.kv_tokens_capacity), to=1)


def _phase(step: StepStats) -> str:
    if not step.prefill_tokens:
        return "decode"
    return "mixed" if step.decoded_tokens else "prefill"


def _batch(size: int) -> str:
    return next((name for limit, name in BATCHES if size <= limit), BEYOND)


def _build(model: ModelInfo | None, name: str) -> tuple[str, ...]:
    machine = f"{platform.system()} {platform.release()} {platform.machine()}"
    known = (model.quantization, model.device) if model else ("", "")
    return (__version__, platform.python_version(), machine, _installed("mlx"), name, *known)


@lru_cache
def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
