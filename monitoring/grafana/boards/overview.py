"""The first board: is it well, who uses it, and how does it feel to them. Read from the upper left."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import dashboard

from boards.layout import PanelBuilder, board, fill, row
from boards.panels import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, YELLOW, heat, lines, number, state
from boards.promql import MODEL, SERVER, buckets, mean, quantile, rate, series, used

UID: Final = "llm-server-overview"

STATES: Final = {"ready": GREEN, "loading": BLUE, "draining": ORANGE, "unavailable": RED}
STATE_NOW: Final = f"max by (state) ({series('llm_server_engine_state')}) == 1"

_POSTS: Final = SERVER + ',method="POST",route=~"/v1/.+"'
_QUANTILES: Final = {"p50": GREEN, "p95": YELLOW, "p99": RED}
_BUDGET: Final = 0.005
"""The share of requests that may fail: the objective is 99.5 % over 28 days, as in prometheus/rules."""


def overview() -> dashboard.Dashboard:
    built = board(UID, "Overview", "Health, traffic and latency of the server, at a glance.")
    fill(built, [*_figures(), *_latency(), *_work()])
    row(built, "Where the time goes", _distributions())
    row(built, "Service level objectives", _objectives())
    return built


def _figures() -> list[PanelBuilder]:
    engine = "/d/llm-server-engine"
    failed = rate("llm_server_http_requests_total", _POSTS + ',status=~"5..",status!="529"')
    broken = rate("llm_server_stream_errors_total")
    errors = f"({failed} or vector(0)) + ({broken} or vector(0))"
    return [
        state(
            "Engine",
            "What the engine is doing. Ready: it has really generated a token, and takes requests.",
            STATE_NOW,
            STATES,
            idle="no server",
        ),
        number(
            "Alerts",
            "Alerts that are firing now. They are marked in orange on all graphs; monitoring/README.md has the cures.",
            'count(ALERTS{alertstate="firing"}) or vector(0)',
            "short",
            steps=[(1, RED)],
        ),
        number(
            "Error budget left",
            "Of the requests that may fail in 28 days (0.5 %), the share that is left.",
            "1 - sum(sum_over_time(slo:requests_failed:rate5m[28d]))"
            f" / (sum(sum_over_time(slo:requests:rate5m[28d])) > 0) / {_BUDGET}",
            "percentunit",
            steps=[(0, YELLOW), (0.25, GREEN)],
            base=RED,
            decimals=0,
        ),
        number(
            "Requests",
            "Model requests that were answered, per second.",
            rate("llm_server_http_requests_total", _POSTS),
            "reqps",
            base=BLUE,
            idle="0 req/s",
        ),
        number(
            "Failed",
            "Requests that the server failed, per second: status 5xx, or a stream that ended in an error.",
            errors,
            "reqps",
            steps=[(0.001, RED)],
        ),
        number(
            "First token, p95",
            "95 % of answers begin within this time. The objective is 2.5 s.",
            quantile(0.95, "vllm:time_to_first_token_seconds", MODEL),
            "s",
            steps=[(1, YELLOW), (2.5, RED)],
            idle="idle",
            link=engine,
        ),
        number(
            "Tokens out",
            "Tokens written per second, by all requests together.",
            rate("vllm:generation_tokens_total", MODEL),
            "suffix:tok/s",
            base=BLUE,
            decimals=0,
        ),
        number(
            "Waiting",
            "Requests in the queue now. Beyond LLM_MAX_QUEUE they are refused.",
            f"sum({series('vllm:num_requests_waiting', MODEL)})",
            "short",
            steps=[(1, YELLOW), (32, RED)],
            link=engine,
        ),
    ]


def _latency() -> list[PanelBuilder]:
    return [
        _quantiles(
            "Time to first token",
            "From a request's arrival to its first token: queue and prefill. Points are single requests; click one for"
            " its trace. The dashed line is the objective for p95.",
            "vllm:time_to_first_token_seconds",
            2.5,
        ),
        _quantiles(
            "Time between tokens",
            "The gap between two tokens of one answer. 50 ms, the dashed line, is the objective for p99: it reads as"
            " fast as most people can.",
            "vllm:inter_token_latency_seconds",
            0.05,
        ),
        lines(
            "Tokens per second",
            "Written: tokens of answers, reasoning included. Read: prompt tokens that were computed. From cache: prompt"
            " tokens that were known already and cost nothing.",
            {
                "written": rate("vllm:generation_tokens_total", MODEL),
                "read": rate("vllm:prompt_tokens_by_source_total", MODEL + ',source="local_compute"'),
                "from cache": rate("vllm:prompt_tokens_by_source_total", MODEL + ',source="local_cache_hit"'),
            },
            "suffix:tok/s",
            colors={"written": BLUE, "read": ORANGE, "from cache": GREEN},
        ),
    ]


def _work() -> list[PanelBuilder]:
    return [
        lines(
            "Requests by API",
            "Model requests that were answered per second, whatever the status.",
            {"{{dialect}}": rate("llm_server_http_requests_total", _POSTS, by="dialect")},
            "reqps",
            stacked=True,
        ),
        lines(
            "In the engine",
            "Requests that are decoded together, and those that wait for a place among them.",
            {
                "running": f"sum({series('vllm:num_requests_running', MODEL)})",
                "waiting": f"sum({series('vllm:num_requests_waiting', MODEL)})",
            },
            "short",
            stacked=True,
            colors={"running": BLUE, "waiting": ORANGE},
        ),
        lines(
            "Endings",
            "How generations ended. Stop and length are good; abort is a client that left or a timeout; error is ours."
            " Refused ones were never begun.",
            {
                "{{finished_reason}}": rate("vllm:request_success_total", MODEL, by="finished_reason"),
                "refused": rate("vllm:admission_rejections_total", MODEL),
            },
            "reqps",
            stacked=True,
            colors={"stop": GREEN, "length": BLUE, "abort": YELLOW, "error": RED, "refused": PURPLE},
        ),
    ]


def _distributions() -> list[PanelBuilder]:
    phases = {phase: mean(f"vllm:request_{phase}_time_seconds", MODEL) for phase in ("queue", "prefill", "decode")}
    return [
        lines(
            "Mean time of a request",
            "How long a request that ended now had waited, had its prompt read, and was written. Queue: too much comes"
            " in. Prefill: long prompts, or a cache that does not match. Decode: long answers or a large batch.",
            phases,
            "s",
            stacked=True,
            colors={"queue": ORANGE, "prefill": PURPLE, "decode": BLUE},
        ),
        heat(
            "Times to first token",
            "Each column is a histogram: two bands are two kinds of requests, as with a cached prompt and without.",
            buckets("vllm:time_to_first_token_seconds", MODEL),
            "s",
            exemplars=True,
        ),
        heat(
            "Times between tokens",
            "Each column is a histogram of the gaps between tokens.",
            buckets("vllm:inter_token_latency_seconds", MODEL),
            "s",
        ),
    ]


def _objectives() -> list[PanelBuilder]:
    none = 'label_replace(vector(0), "alertname", "none", "", "")'
    panels = [
        lines(
            "Alerts",
            "Which alerts were firing when. monitoring/README.md says what to do about each.",
            {"{{alertname}}": f'count by (alertname) (ALERTS{{alertstate="firing"}}) or {none}'},
            "short",
            stacked=True,
            at_least=1,
        ),
        lines(
            "Error budget burn",
            "How many times faster than allowed the budget for failed requests is spent, over windows of an alert. At"
            " 14.4 over an hour somebody is paged.",
            {window: f"max(slo:unavailable:ratio{window}) / {_BUDGET}" for window in ("5m", "1h", "6h", "3d")},
            "suffix:x",
            limit=14.4,
        ),
        lines(
            "Late answers",
            "The share of answers that began after more than 2.5 s. The objective, dashed, is 5 %.",
            {window: f"max(slo:late_answers:ratio{window})" for window in ("5m", "1h", "6h")},
            "percentunit",
            limit=0.05,
        ),
        lines(
            "Responses by status",
            "4xx is what clients did wrong, 429 and 529 a full queue, 5xx what the server did wrong.",
            {"{{status}}": used("llm_server_http_requests_total", _POSTS, by="status")},
            "reqps",
            stacked=True,
            colors={"200": GREEN, "400": GREY, "429": PURPLE, "529": PURPLE, "500": RED, "503": RED},
        ),
    ]
    return [panel.span(6) for panel in panels]


def _quantiles(title: str, description: str, metric: str, limit: float) -> PanelBuilder:
    values = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    queries = {name: quantile(fraction, metric, MODEL) for name, fraction in values.items()}
    return lines(title, description, queries, "s", limit=limit, colors=_QUANTILES, exemplars="p99")
