"""Why a turn took as long as it did: for the client as `Server-Timing`, for the operator as one line of the log.

https://www.w3.org/TR/server-timing/ has the header's form; durations are in milliseconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from llm_server.observability.exchange import Exchange
from llm_server.observability.tracing import trace_id
from llm_server.observability.watch import GenerationWatch

_PHASES: tuple[tuple[str, Callable[[GenerationWatch], float | None]], ...] = (
    ("render", lambda watch: watch.render),
    ("grammar", lambda watch: watch.grammar),
    ("queue", lambda watch: watch.queue),
    ("prefill", lambda watch: watch.prefill),
    ("decode", lambda watch: watch.decode),
)


def server_timing(exchange: Exchange) -> str:
    """What is known by now, of several choices the slowest. "" if nothing was generated."""
    durations = _durations(exchange)
    words = [f"{name};dur={milliseconds:g}" for name, milliseconds in durations.items()]
    if "prefill" in durations:
        cached = sum(watch.cached_tokens for watch in exchange.generations)
        words.append(f'cache;desc="{cached} of {_prompt_tokens(exchange)} tokens"')
    return ", ".join(words)


def log_fields(exchange: Exchange) -> dict[str, Any]:
    """One request in the words of a log. Fields that say nothing are left out."""
    fields: dict[str, Any] = {
        "request_id": exchange.request_id,
        "trace_id": trace_id(exchange.span),
        "method": exchange.method,
        "route": exchange.route,
        "status": exchange.status,
        "seconds": round(time.monotonic() - exchange.arrived, 4),
        "error": exchange.error,
        "client_left": exchange.client_left,
        **(_generation_fields(exchange) if exchange.generations else {}),
    }
    return {name: value for name, value in fields.items() if value not in ("", None) and value is not False}


def _generation_fields(exchange: Exchange) -> dict[str, Any]:
    watches = exchange.generations
    outcomes = [watch.outcome for watch in watches if watch.outcome is not None]
    diverged = next((outcome for outcome in outcomes if outcome.diverged_in), None)
    firsts = [watch.first_token for watch in watches if watch.first_token is not None]
    return {
        "stream": exchange.streaming,
        "finish": ",".join(watch.finish_reason for watch in watches),
        "failed": next((watch.error for watch in watches if watch.error), ""),
        "cancelled": next((watch.cause for watch in watches if watch.cause), ""),
        "prompt_tokens": _prompt_tokens(exchange),
        "cached_tokens": sum(watch.cached_tokens for watch in watches),
        "completion_tokens": sum(outcome.usage.completion for outcome in outcomes),
        "reasoning_tokens": sum(outcome.usage.reasoning for outcome in outcomes),
        "first_token_ms": round(min(firsts) * 1000, 2) if firsts else None,
        **{f"{name}_ms": milliseconds for name, milliseconds in _durations(exchange).items()},
        "diverged_at": diverged.diverged_at if diverged else None,
        "diverged_in": diverged.diverged_in if diverged else None,
        "repairs": sum(len(outcome.repairs) for outcome in outcomes) or None,
    }


def _durations(exchange: Exchange) -> dict[str, float]:
    durations = {}
    for name, of in _PHASES:
        seconds = [known for watch in exchange.generations if (known := of(watch)) is not None]
        if seconds:
            durations[name] = round(max(seconds) * 1000, 2)
    return durations


def _prompt_tokens(exchange: Exchange) -> int:
    return sum(watch.prompt_tokens for watch in exchange.generations)
