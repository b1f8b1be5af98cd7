"""Watches one generation: takes its moments down, and makes records and spans of them. Never sees a token or a text."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import StatusCode, Tracer, set_span_in_context
from opentelemetry.util.types import AttributeValue

from llm_server.conversation import GenerationRequest
from llm_server.engine.types import Finished, Phase, Started
from llm_server.errors import EngineStalled, RequestTimeout, ServerError
from llm_server.observability import buckets
from llm_server.observability.exchange import Exchange
from llm_server.observability.instruments import Tally
from llm_server.observability.records import (
    Cause,
    Counted,
    FinishedReason,
    GenerationDone,
    GenerationRefused,
    Progress,
    Stage,
)
from llm_server.observability.sender import Sink
from llm_server.observability.tracing import exported_trace_id
from llm_server.observation import Outcome

PROGRESS_SECONDS: Final = 1.0
"""How often a generation that is going on says how far it is."""

_FINISHED: Final[dict[str, FinishedReason]] = {"length": "length"}
_STAGES: Final[dict[Phase, Stage]] = {"queue": "queue", "prefill": "ttft", "decode": "total"}


class GenerationWatch:
    """See `observation.Watch`. Afterwards, its properties say what is known of the generation."""

    def __init__(
        self,
        request: GenerationRequest,
        exchange: Exchange,
        sink: Sink,
        tracer: Tracer,
        model: str,
        write_down: Callable[[Exchange], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.outcome: Outcome | None = None
        self.error = ""
        self.cause: Cause | None = None
        self.max_tokens = 0
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self._request = request
        self._exchange = exchange
        self._sink = sink
        self._tracer = tracer
        self._model = model
        self._write_down = write_down
        self._clock = clock
        self._trace_id = exported_trace_id(exchange.span)
        self._begun = self._clock()
        self._rendered: float | None = None
        self._guarded: float | None = None
        self._admitted: float | None = None
        self._started: float | None = None
        self._first: float | None = None
        self._latest: float | None = None
        self._first_output: float | None = None
        self._ended: float | None = None
        self._timings: list[Finished] = []
        self._gaps = Tally(buckets.TOKEN_GAP)
        self._unsent = 0
        self._sent_at = self._begun
        self._prompt_sent = False

    # What it is told

    def rendered(self, prompt_tokens: int) -> None:
        self._rendered = self._clock()
        self.prompt_tokens = prompt_tokens

    def guarded(self) -> None:
        self._guarded = self._clock()

    def refused(self, error: BaseException) -> None:
        is_schema = self._rendered is not None and self._guarded is None and isinstance(error, ServerError)
        self._sink(GenerationRefused(is_schema, isinstance(error, RequestTimeout)))

    def admitted(self, max_tokens: int) -> None:
        self._admitted = self._clock()
        self.max_tokens = max_tokens
        self._exchange.generations.append(self)

    def started(self, started: Started) -> None:
        if self._started is None:
            self._started = self._clock()
            self.cached_tokens = started.cached_tokens

    def decoded(self, tokens: int) -> None:
        if not tokens:
            return
        now = self._clock()
        if self._latest is None:
            self._first = now
        else:
            self._gaps.observe((now - self._latest) / tokens, tokens)
        self._latest = now
        self._unsent += tokens
        if now - self._sent_at >= PROGRESS_SECONDS:
            self._sent_at = now
            self._sink(self._progress())

    def shown(self) -> None:
        self._first_output = self._clock()

    def left_engine(self, finished: Finished) -> None:
        self._timings.append(finished)

    def ended(self, outcome: Outcome, error: Exception | None) -> None:
        self._ended = self._clock()
        self.outcome = outcome
        self.error = "" if error is None else getattr(error, "code", "internal_error")
        self.cause = self._cause(outcome, error)
        self._sink(self._progress(), self._done(outcome, error))
        self._trace(outcome)
        if self._exchange.over:
            self._write_down(self._exchange)

    # What is known

    @property
    def render(self) -> float | None:
        return None if self._rendered is None else self._rendered - self._begun

    @property
    def grammar(self) -> float | None:
        return _between(self._rendered, self._guarded)

    @property
    def queue(self) -> float | None:
        """Seconds in the engine's queue, by the engine's own clock if it has said."""
        if self._timings:
            return sum(finished.queue_seconds for finished in self._timings)
        return _between(self._admitted, self._started)

    @property
    def prefill(self) -> float | None:
        if self._timings and self._first is not None:
            return sum(finished.prefill_seconds for finished in self._timings)
        return _between(self._started, self._first)

    @property
    def decode(self) -> float | None:
        """None unless the generation has come to its own end."""
        if self._timings and self._first is not None:
            return sum(finished.decode_seconds for finished in self._timings)
        whole = self.outcome is not None and self.outcome.finish_reason is not None
        return _between(self._first, self._latest) if whole else None

    @property
    def first_token(self) -> float | None:
        return _between(self._exchange.arrived, self._first)

    @property
    def finish_reason(self) -> FinishedReason:
        if self.outcome is not None and self.outcome.finish_reason is not None:
            return _FINISHED.get(self.outcome.finish_reason, "stop")
        return "error" if self.error else "abort"

    @property
    def phase(self) -> Phase:
        if self._first is not None:
            return "decode"
        return "queue" if self._started is None else "prefill"

    def _cause(self, outcome: Outcome, error: Exception | None) -> Cause | None:
        if isinstance(error, RequestTimeout):
            return "timeout"
        return None if error is not None or outcome.finish_reason is not None else self._exchange.cause

    def _stage(self, error: Exception | None) -> Stage | None:
        match error:
            case RequestTimeout():
                return _STAGES[self.phase]
            case EngineStalled():
                return "stall"
        return None

    # Records

    def _progress(self) -> Progress:
        gaps = self._gaps.take()
        first = self.first_token is not None and not self._prompt_sent
        self._prompt_sent |= first
        tokens, self._unsent = self._unsent, 0
        return Progress(
            tokens,
            Counted(gaps.counts, gaps.total, gaps.largest) if gaps else Counted(),
            self.first_token if first else None,
            self.prompt_tokens if first else 0,
            self.cached_tokens if first else 0,
            self._trace_id,
        )

    def _done(self, outcome: Outcome, error: Exception | None) -> GenerationDone:
        assert self._ended is not None
        return GenerationDone(
            finished_reason=self.finish_reason,
            seconds=self._ended - self._exchange.arrived,
            queue=self.queue,
            prefill=self.prefill,
            decode=self.decode,
            first_output=_between(self._exchange.arrived, self._first_output),
            prompt_tokens=self.prompt_tokens,
            cached_tokens=self.cached_tokens,
            completion_tokens=outcome.usage.completion,
            max_tokens=self.max_tokens,
            grammar=self.grammar,
            error=self.error,
            phase=self.phase if self.cause else None,
            cause=self.cause,
            stage=self._stage(error),
            channel_tokens=_channels(outcome),
            repairs=dict(Counter(outcome.repairs)),
            corrections=outcome.corrections,
            tool_calls=outcome.tool_calls,
            diverged_in=outcome.diverged_in,
            trace_id=self._trace_id,
        )

    # Spans

    def _trace(self, outcome: Outcome) -> None:
        if not self._trace_id or self._ended is None:
            return
        span = self._tracer.start_span(
            f"chat {self._model}",
            set_span_in_context(self._exchange.span),
            attributes=self._attributes(outcome),
            start_time=self._exchange.unix_ns(self._begun),
        )
        if self._first is not None:
            span.add_event("first_token", timestamp=self._exchange.unix_ns(self._first))
        if self.error or self.cause:
            span.set_attribute("error.type", self.error or f"cancelled_{self.cause}")
        if self.error:
            span.set_status(StatusCode.ERROR)
        self._trace_phases(set_span_in_context(span), self._ended)
        span.end(self._exchange.unix_ns(self._ended))

    def _trace_phases(self, context: Context, ended: float) -> None:
        """The phases that it came to; the last one of them ends with the generation."""
        prompt = {"gen_ai.usage.input_tokens": self.prompt_tokens, _CACHED: self.cached_tokens}
        tokens = {"gen_ai.usage.output_tokens": self.outcome.usage.completion if self.outcome else 0}
        moments = (self._begun, self._rendered, self._guarded, self._admitted, self._started, self._first, ended)
        attributes: tuple[dict[str, AttributeValue], ...] = ({}, {}, {}, {}, {**prompt}, {**tokens})
        names = ("render", "grammar", "admission", "queue", "prefill", "decode")
        for name, begin, end, known in zip(names, moments, moments[1:], attributes, strict=False):
            if begin is None:
                return
            span = self._tracer.start_span(name, context, attributes=known, start_time=self._exchange.unix_ns(begin))
            span.end(self._exchange.unix_ns(ended if end is None else end))

    def _attributes(self, outcome: Outcome) -> dict[str, AttributeValue]:
        sampling, usage = self._request.sampling, outcome.usage
        known: dict[str, AttributeValue | None] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "mlx",
            "gen_ai.request.model": self._model,
            "gen_ai.response.model": self._model,
            "gen_ai.request.max_tokens": self._request.max_tokens,
            "gen_ai.request.temperature": sampling.temperature,
            "gen_ai.request.top_p": sampling.top_p,
            "gen_ai.request.seed": sampling.seed,
            "gen_ai.request.stream": self._exchange.streaming,
            "gen_ai.request.reasoning.level": self._request.conversation.reasoning_effort,
            "gen_ai.response.finish_reasons": [outcome.finish_reason] if outcome.finish_reason else None,
            "gen_ai.response.time_to_first_chunk": self.first_token,
            "gen_ai.usage.input_tokens": self.prompt_tokens,
            _CACHED: self.cached_tokens,
            "gen_ai.usage.output_tokens": usage.completion,
            "gen_ai.usage.reasoning.output_tokens": usage.reasoning,
            "llm_server.diverged_at": outcome.diverged_at if outcome.diverged_in else None,
            "llm_server.diverged_in": outcome.diverged_in or None,
            "llm_server.repairs": len(outcome.repairs),
        }
        return {name: value for name, value in known.items() if value is not None}


_CACHED: Final = "gen_ai.usage.cache_read.input_tokens"


def _between(earlier: float | None, later: float | None) -> float | None:
    return None if earlier is None or later is None else later - earlier


def _channels(outcome: Outcome) -> dict[str, int]:
    """Tokens by channel. Those of a message that was still open belong to no channel yet."""
    unfinished = outcome.usage.completion - sum(outcome.channel_tokens.values())
    return {**outcome.channel_tokens, "unfinished": unfinished} if unfinished > 0 else dict(outcome.channel_tokens)
