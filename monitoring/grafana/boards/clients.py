"""The third board: what the model writes in Harmony, what clients ask for, and how they leave."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import dashboard

from boards.layout import PanelBuilder, board, fill, row
from boards.panels import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, YELLOW, heat, lines, number
from boards.promql import MODEL, SERVER, buckets, quantile, rate, ratio, series, used

UID: Final = "llm-server-clients"

_TOKENS: Final = "llm_server_harmony_tokens_total"
_REPAIRS: Final = "llm_server_harmony_repairs_total"
_MALFORMED: Final = SERVER + ',kind!="undeclared_tool"'
_MODEL_ROUTES: Final = SERVER + ',route=~"/v1/.+"'
_NO_KIND: Final = '"kind", "none", "", ""'
_UNDECLARED: Final = SERVER + ',kind="undeclared_tool"'


def clients() -> dashboard.Dashboard:
    built = board(UID, "Harmony and clients", "Channels, tools, repairs, dialects, cancellations and limits.")
    fill(built, [*_figures(), *_harmony(), *_departures()])
    row(built, "Requests", _requests())
    row(built, "The API's own time", _api())
    return built


def _figures() -> list[PanelBuilder]:
    ended = rate("vllm:request_success_total", MODEL)
    return [
        number(
            "Reasoning",
            "The share of written tokens that nobody sees: the model's analysis. Effort (reasoning_effort) moves it.",
            ratio(rate(_TOKENS, SERVER + ',channel="analysis"'), rate(_TOKENS)),
            "percentunit",
            base=PURPLE,
            decimals=0,
            idle="idle",
        ),
        number(
            "First word, p95",
            "From a request's arrival to the first word or call that its client sees, after the reasoning.",
            quantile(0.95, "llm_server_time_to_first_output_seconds", MODEL),
            "s",
            steps=[(5, YELLOW), (15, RED)],
            idle="idle",
        ),
        number(
            "Tool calls",
            "Complete tool calls that were handed to clients, per second.",
            rate("llm_server_tool_calls_total"),
            "cps",
            base=BLUE,
            decimals=2,
        ),
        number(
            "Repairs",
            "Repairs of malformed Harmony per request. With LLM_HARMONY_GUARD=on there are none.",
            ratio(rate(_REPAIRS, _MALFORMED), ended),
            "short",
            steps=[(0.01, YELLOW), (0.05, RED)],
            decimals=2,
            idle="idle",
        ),
        number(
            "Unknown tools",
            "Calls of tools that do not exist, per second. The model is told, and tries again.",
            rate(_REPAIRS, _UNDECLARED),
            "cps",
            steps=[(0.001, YELLOW), (0.1, RED)],
        ),
        number(
            "Left early",
            "The share of generations that ended because nobody waited for them any more.",
            ratio(rate("vllm:request_success_total", MODEL + ',finished_reason="abort"'), ended),
            "percentunit",
            steps=[(0.2, YELLOW), (0.5, RED)],
            decimals=0,
            idle="idle",
        ),
        number(
            "Slot free, p99",
            "From a client's leaving to its slot being free for the next request.",
            quantile(0.99, "llm_server_cancel_latency_seconds"),
            "s",
            steps=[(1, YELLOW), (2, RED)],
            idle="none left",
        ),
        number(
            "Grammar, p95",
            "Time to compile what a request's tools and schemas allow.",
            quantile(0.95, "llm_server_grammar_compile_seconds"),
            "s",
            steps=[(0.25, YELLOW), (1, RED)],
            idle="idle",
        ),
    ]


def _harmony() -> list[PanelBuilder]:
    return [
        lines(
            "Tokens by channel",
            "Analysis is reasoning and stays here; commentary is tool calls and what is said before them; final is the"
            " answer.",
            {"{{channel}}": rate(_TOKENS, by="channel")},
            "suffix:tok/s",
            stacked=True,
            colors={"analysis": PURPLE, "commentary": ORANGE, "final": GREEN, "unknown": RED, "unfinished": GREY},
        ),
        lines(
            "Tool calls",
            "Complete calls handed to clients, calls of tools that do not exist, and how often the model was told so.",
            {
                "calls": rate("llm_server_tool_calls_total"),
                "unknown tools": rate(_REPAIRS, _UNDECLARED),
                "corrected": rate("llm_server_harmony_corrections_total"),
            },
            "cps",
            colors={"calls": BLUE, "unknown tools": RED, "corrected": GREEN},
        ),
        lines(
            "Repairs by kind",
            "What was malformed in the model's output, and mended. `llm-server explain` shows such turns.",
            {"{{kind}}": f"{rate(_REPAIRS, by='kind')} > 0 or label_replace({rate(_REPAIRS)} == 0, {_NO_KIND})"},
            "cps",
            stacked=True,
            at_least=0.1,
        ),
    ]


def _departures() -> list[PanelBuilder]:
    phases = {"queue": ORANGE, "prefill": PURPLE, "decode": BLUE}
    return [
        lines(
            "Cancellations by phase",
            "Where requests were when their clients left or their time was over.",
            {"{{phase}}": rate("llm_server_requests_cancelled_total", by="phase")},
            "reqps",
            stacked=True,
            at_least=0.1,
            colors=phases,
        ),
        lines(
            "Cancellations by cause",
            "disconnect: the client left. timeout: LLM_REQUEST_TIMEOUT. shutdown: the server ended.",
            {"{{cause}}": rate("llm_server_requests_cancelled_total", by="cause")},
            "reqps",
            stacked=True,
            at_least=0.1,
            colors={"disconnect": YELLOW, "timeout": RED, "shutdown": GREY, "api": BLUE},
        ),
        lines(
            "Refusals and timeouts",
            "Requests that were refused, by reason, and those whose time was over, by stage.",
            {
                "{{reason}}": rate("vllm:admission_rejections_total", MODEL, by="reason"),
                "timeout: {{stage}}": rate("llm_server_request_timeouts_total", by="stage"),
            },
            "reqps",
            stacked=True,
            at_least=0.1,
        ),
    ]


def _requests() -> list[PanelBuilder]:
    return [
        lines(
            "Requests by route",
            "Responses per second, by route, whatever the status.",
            {"{{route}}": used("llm_server_http_requests_total", _MODEL_ROUTES, by="route")},
            "reqps",
            stacked=True,
        ),
        heat(
            "Prompt lengths",
            "Tokens of prompts, each column a histogram.",
            buckets("vllm:request_prompt_tokens", MODEL),
            "short",
        ),
        heat(
            "Answer lengths",
            "Tokens of answers, reasoning included, each column a histogram.",
            buckets("vllm:request_generation_tokens", MODEL),
            "short",
        ),
    ]


def _api() -> list[PanelBuilder]:
    return [
        lines(
            "Event loop lag, p99",
            "How late the API workers' loops are. Above 0.25 s streams stutter; LLM_WORKERS shares the work.",
            {"p99": quantile(0.99, "llm_server_event_loop_lag_seconds")},
            "s",
            limit=0.25,
            colors={"p99": BLUE},
        ),
        lines(
            "Slow readers, p99",
            "Time that a stream spent waiting for a client that did not read.",
            {"p99": quantile(0.99, "llm_server_sse_write_stall_seconds")},
            "s",
            colors={"p99": ORANGE},
        ),
        lines(
            "Open requests",
            "Requests that are being answered, by route.",
            {"{{route}}": f"sum by (route) ({series('llm_server_http_inflight', _MODEL_ROUTES)})"},
            "short",
            stacked=True,
        ),
    ]
