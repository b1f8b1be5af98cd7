"""Metrics of generations: vLLM's names, which routers and dashboards know, OpenTelemetry's, and Harmony's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, get_args

from llm_server.engine.types import Phase
from llm_server.harmony.repairs import RepairKind
from llm_server.observability import buckets
from llm_server.observability.instruments import Counter, Histogram, Instrument
from llm_server.observability.records import Cause, Counted, GenerationDone, GenerationRefused, Progress, Stage

ENGINE: Final = "0"
PARTS: Final = ("system", "instructions", "tools", "message", "reply")
CHANNELS: Final = ("analysis", "commentary", "final", "unknown", "unfinished")

_HEADER_REPAIRS: Final = frozenset(
    {
        *("missing_start", "missing_channel", "missing_message", "unknown_channel", "abandoned_header", "foreign_role"),
        *("stray_token", "spelled_marker", "call_channel", "missing_recipient"),
    }
)
_CALL_REPAIRS: Final = frozenset(
    {
        *("tool_name", "wrapped_call", "undeclared_tool", "empty_arguments", "text_around_arguments"),
        *("arguments_not_json", "closed_json", "incomplete_arguments"),
    }
)


class RequestMetrics:
    """Filled from the records of API workers. `model` is the name that is served; no request's own name is a label."""

    def __init__(self, model: str) -> None:
        self._own = (model, ENGINE)
        own = {"model_name": [model], "engine": [ENGINE]}

        def counter(name: str, help_text: str, **labels: list[str]) -> Counter:
            return Counter(f"vllm:{name}", help_text, {**own, **labels})

        def histogram(name: str, help_text: str, edges: tuple[float, ...]) -> Histogram:
            return Histogram(f"vllm:{name}", help_text, edges, own)

        self.prompt_tokens = counter("prompt_tokens", "Prompt tokens of requests whose first token came.")
        self.cached = counter("prompt_tokens_cached", "Prompt tokens that were in the prefix cache.")
        self.by_source = counter(
            "prompt_tokens_by_source", "Prompt tokens by origin.", source=["local_compute", "local_cache_hit"]
        )
        self.generated = counter("generation_tokens", "Generated tokens, reasoning included.")
        self.finished = counter(
            "request_success",
            "Admitted generations that have ended, by reason.",
            finished_reason=["stop", "length", "abort", "error"],
        )
        self.preemptions = counter("num_preemptions", "Preemptions; this engine never preempts.")
        self.first_token = histogram(
            "time_to_first_token_seconds", "From arrival to the first generated token.", buckets.FIRST_TOKEN
        )
        self.gap = histogram("inter_token_latency_seconds", "Between two tokens of a generation.", buckets.TOKEN_GAP)
        self.per_token = histogram(
            "request_time_per_output_token_seconds", "Mean per generation, without the first.", buckets.TOKEN_GAP
        )
        self.whole = histogram("e2e_request_latency_seconds", "From arrival to the last token.", buckets.REQUEST)
        self.queue = histogram("request_queue_time_seconds", "In the engine's queue.", buckets.PHASE)
        self.prefill = histogram("request_prefill_time_seconds", "From the queue to the first token.", buckets.PHASE)
        self.decode = histogram("request_decode_time_seconds", "From the first token to the last.", buckets.PHASE)
        self.inference = histogram("request_inference_time_seconds", "Prefill and decode.", buckets.PHASE)
        self.prompt_size = histogram("request_prompt_tokens", "Prompt tokens per generation.", buckets.TOKENS)
        self.answer_size = histogram("request_generation_tokens", "Tokens per generation.", buckets.TOKENS)
        self.computed = histogram(
            "request_prefill_kv_computed_tokens", "Prompt tokens that were computed per generation.", buckets.TOKENS
        )
        self.limit = histogram("request_params_max_tokens", "Limit of tokens per generation.", buckets.TOKENS)
        self.first_output = Histogram(
            "llm_server_time_to_first_output_seconds",
            "From arrival to the first text or call that the client sees, after the reasoning.",
            buckets.FIRST_TOKEN,
            own,
        )
        self._semantic(model)
        self._harmony()

    def _semantic(self, model: str) -> None:
        """OpenTelemetry's conventions for generative AI, server metrics (still in development there)."""
        labels = {
            "gen_ai_operation_name": ["chat"],
            "gen_ai_provider_name": ["mlx"],
            "gen_ai_request_model": [model],
            "gen_ai_response_model": [model],
        }
        self._semantic_labels = tuple(values[0] for values in labels.values())
        self.semantic_duration = Histogram(
            "gen_ai_server_request_duration_seconds",
            "Duration of a generation.",
            buckets.SEMANTIC_REQUEST,
            {**labels, "error_type": [""]},
        )
        self.semantic_first_token = Histogram(
            "gen_ai_server_time_to_first_token_seconds", "Time to the first token.", buckets.FIRST_TOKEN, labels
        )
        self.semantic_per_token = Histogram(
            "gen_ai_server_time_per_output_token_seconds",
            "Mean time per token, without the first.",
            buckets.TOKEN_GAP,
            labels,
        )

    def _harmony(self) -> None:
        self.cancelled = Counter(
            "llm_server_requests_cancelled",
            "Generations that were given up, by what the engine did with them then, and why.",
            {"phase": get_args(Phase), "cause": get_args(Cause)},
        )
        self.timeouts = Counter(
            "llm_server_request_timeouts", "Requests that took too long, by stage.", {"stage": get_args(Stage)}
        )
        self.channels = Counter(
            "llm_server_harmony_tokens",
            "Generated tokens by Harmony channel; those of a message that was not closed are unfinished.",
            {"channel": CHANNELS},
        )
        self.repairs = Counter(
            "llm_server_harmony_repairs",
            "What was malformed in the model's output, and put right.",
            {"kind": (), "part": ()},
        )
        for kind in get_args(RepairKind):
            self.repairs.expect(kind, _part(kind))
        self.corrections = Counter(
            "llm_server_harmony_corrections", "Calls of tools that do not exist, of which the model was told."
        )
        self.calls = Counter("llm_server_tool_calls", "Whole tool calls that clients got.")
        self.divergences = Counter(
            "llm_server_prompt_divergences", "Where prompts left the cached ones.", {"part": PARTS}
        )
        self.grammar = Histogram(
            "llm_server_grammar_compile_seconds", "To write and check a request's grammar.", buckets.GRAMMAR, {}
        )
        self.grammar_failures = Counter(
            "llm_server_grammar_failures", "Schemas that could not be enforced, or took too long."
        )

    def instruments(self) -> Iterator[Instrument]:
        return (each for each in vars(self).values() if isinstance(each, Counter | Histogram))

    def progress(self, record: Progress) -> None:
        own, trace_id = self._own, record.trace_id
        self.generated.add(*own, by=record.tokens)
        if record.gaps.counts:
            self._add_gaps(record.gaps, trace_id)
        if record.first_token is None:
            return
        computed = record.prompt_tokens - record.cached_tokens
        self.prompt_tokens.add(*own, by=record.prompt_tokens)
        self.cached.add(*own, by=record.cached_tokens)
        self.by_source.add(*own, "local_compute", by=computed)
        self.by_source.add(*own, "local_cache_hit", by=record.cached_tokens)
        self.first_token.observe(*own, value=record.first_token, trace_id=trace_id)
        self.semantic_first_token.observe(*self._semantic_labels, value=record.first_token, trace_id=trace_id)
        self.prompt_size.observe(*own, value=record.prompt_tokens)
        self.computed.observe(*own, value=computed)

    def done(self, record: GenerationDone) -> None:
        own, trace_id = self._own, record.trace_id
        self.finished.add(*own, record.finished_reason)
        self.answer_size.observe(*own, value=record.completion_tokens)
        self.limit.observe(*own, value=record.max_tokens)
        if record.finished_reason != "abort":
            self.whole.observe(*own, value=record.seconds, trace_id=trace_id)
            labels = (*self._semantic_labels, record.error)
            self.semantic_duration.observe(*labels, value=record.seconds, trace_id=trace_id)
        self._phases(record)
        self._output(record)
        if record.phase and record.cause:
            self.cancelled.add(record.phase, record.cause)
        if record.stage:
            self.timeouts.add(record.stage)

    def refused(self, record: GenerationRefused) -> None:
        if record.grammar_failed:
            self.grammar_failures.add()
        if record.timed_out:
            self.timeouts.add("queue")

    def _add_gaps(self, gaps: Counted, trace_id: str) -> None:
        """The longest gap is its bucket's exemplar."""
        self.gap.merge(*self._own, counts=gaps.counts, total=gaps.total, largest=gaps.largest, trace_id=trace_id)

    def _phases(self, record: GenerationDone) -> None:
        own, trace_id = self._own, record.trace_id
        for histogram, seconds in (
            (self.queue, record.queue),
            (self.prefill, record.prefill),
            (self.decode, record.decode),
            (self.first_output, record.first_output),
        ):
            if seconds is not None:
                histogram.observe(*own, value=seconds, trace_id=trace_id)
        if record.prefill is None or record.decode is None:
            return
        self.inference.observe(*own, value=record.prefill + record.decode, trace_id=trace_id)
        if record.completion_tokens > 1:
            mean = record.decode / (record.completion_tokens - 1)
            self.per_token.observe(*own, value=mean, trace_id=trace_id)
            self.semantic_per_token.observe(*self._semantic_labels, value=mean, trace_id=trace_id)

    def _output(self, record: GenerationDone) -> None:
        for channel, tokens in record.channel_tokens.items():
            self.channels.add(channel if channel in CHANNELS else "unknown", by=tokens)
        for kind, times in record.repairs.items():
            self.repairs.add(kind, _part(kind), by=times)
        self.corrections.add(by=record.corrections)
        self.calls.add(by=record.tool_calls)
        part = record.diverged_in.partition(" ")[0]
        if part in PARTS:
            self.divergences.add(part)
        if record.grammar is not None:
            self.grammar.observe(value=record.grammar)


def _part(kind: str) -> str:
    if kind in _HEADER_REPAIRS:
        return "header"
    return "call" if kind in _CALL_REPAIRS else "text"
