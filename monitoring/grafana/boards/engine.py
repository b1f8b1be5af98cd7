"""The second board: what the engine does with its time and its memory. For "why is it slow"."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import dashboard

from boards.layout import PanelBuilder, board, fill, row
from boards.overview import STATE_NOW, STATES
from boards.panels import BLUE, GREEN, ORANGE, PURPLE, RED, YELLOW, heat, lines, number, state
from boards.promql import MODEL, SERVER, buckets, mean, quantile, rate, ratio, series

UID: Final = "llm-server-engine"

_DECODE: Final = SERVER + ',phase="decode"'


def engine() -> dashboard.Dashboard:
    built = board(UID, "Engine", "Batch, steps, prompt cache and memory of the engine process.")
    fill(built, [*_figures(), *_steps(), *_cache()])
    row(built, "Memory", _memory())
    row(built, "Restarts and machine", _machine())
    return built


def _figures() -> list[PanelBuilder]:
    footprint = f"sum({series('llm_server_process_phys_footprint_bytes')})"
    queries = rate("vllm:prefix_cache_queries_total", MODEL)
    return [
        state("Engine", "What the engine is doing.", STATE_NOW, STATES, idle="no server"),
        number(
            "Last step",
            "Seconds since the engine last computed anything. With requests running, more than 30 s is a stuck engine;"
            " without, it is idle (the canary makes a step every 30 s).",
            f"time() - max({series('llm_server_engine_last_step_timestamp_seconds')} > 0)",
            "s",
            steps=[(60, YELLOW), (300, RED)],
            decimals=0,
        ),
        number(
            "Restarts, 1 h",
            "How often the engine was started again in the last hour.",
            f"sum(increase({series('llm_server_engine_restarts_total')}[1h]))",
            "short",
            steps=[(0.5, YELLOW), (3, RED)],
            decimals=0,
        ),
        number(
            "Batch",
            "Sequences per step: the larger, the more tokens per second in all, and the slower each answer.",
            mean("llm_server_engine_batch_size"),
            "short",
            base=BLUE,
            decimals=1,
            idle="idle",
        ),
        number(
            "Step, p50",
            "Time of a step in which nothing but decoding happens: the pace of every running answer.",
            quantile(0.5, "llm_server_engine_step_seconds", _DECODE),
            "s",
            steps=[(0.05, YELLOW), (0.1, RED)],
            idle="idle",
        ),
        number(
            "Cache hits",
            "The share of prompt tokens that did not have to be computed.",
            ratio(rate("vllm:prefix_cache_hits_total", MODEL), queries),
            "percentunit",
            base=BLUE,
            decimals=0,
            idle="idle",
        ),
        number(
            "Memory taken",
            "The server's share of the memory that there is. From 90 % on, the system begins to swap or to kill.",
            f"{footprint} / sum({series('llm_server_machine_memory_bytes')})",
            "percentunit",
            steps=[(0.8, YELLOW), (0.9, RED)],
            decimals=0,
        ),
        number(
            "Canary, p95",
            "Time of the one-token generation that is made every 30 s while idle. It fails when the server looks well"
            " and can not generate.",
            f"histogram_quantile(0.95, sum by (le) (rate({series('llm_server_canary_seconds_bucket')}[10m]))) >= 0",
            "s",
            steps=[(1, YELLOW), (5, RED)],
            idle="busy",
        ),
    ]


def _steps() -> list[PanelBuilder]:
    return [
        lines(
            "Step time, p95",
            "A mixed step reads a piece of a prompt (LLM_PREFILL_STEP_SIZE) and decodes the others; while it lasts, all"
            " streams wait for it.",
            {"{{phase}}": quantile(0.95, "llm_server_engine_step_seconds", by="phase")},
            "s",
            colors={"decode": BLUE, "prefill": PURPLE, "mixed": ORANGE},
        ),
        heat(
            "Decode steps",
            "Each column is a histogram of step times. Bands are batch sizes; a smear upwards is another program on"
            " the GPU, or heat.",
            buckets("llm_server_engine_step_seconds", _DECODE),
            "s",
        ),
        lines(
            "Batch",
            "Sequences per step, mean and p95, beside those that wait.",
            {
                "mean": mean("llm_server_engine_batch_size"),
                "p95": quantile(0.95, "llm_server_engine_batch_size"),
                "waiting": f"sum({series('vllm:num_requests_waiting', MODEL)})",
            },
            "short",
            colors={"mean": BLUE, "p95": PURPLE, "waiting": ORANGE},
        ),
    ]


def _cache() -> list[PanelBuilder]:
    hits = ratio(rate("vllm:prefix_cache_hits_total", MODEL), rate("vllm:prefix_cache_queries_total", MODEL))
    return [
        lines(
            "Prompt cache hits",
            "The share of prompt tokens that did not have to be computed.",
            {"hits": hits},
            "percentunit",
            maximum=1,
            colors={"hits": GREEN},
        ),
        lines(
            "Where prompts diverge",
            "Which part of a prompt was the first that differed from the nearest cached one. System: a clock or an"
            " id in the system prompt ruins the cache. Message: history was edited.",
            {"{{part}}": rate("llm_server_prompt_divergences_total", by="part")},
            "reqps",
            stacked=True,
            at_least=0.1,
        ),
        lines(
            "Queue, prefill and decode, p95",
            "What a request spends its time on.",
            {
                phase: quantile(0.95, f"vllm:request_{phase}_time_seconds", MODEL)
                for phase in ("queue", "prefill", "decode")
            },
            "s",
            colors={"queue": ORANGE, "prefill": PURPLE, "decode": BLUE},
        ),
    ]


def _memory() -> list[PanelBuilder]:
    footprint = f"sum({series('llm_server_process_phys_footprint_bytes')})"
    active = "sum(" + series("llm_server_mlx_memory_bytes", SERVER + ',kind="active"') + ")"
    panels = [
        lines(
            "MLX memory",
            "Active: weights and prompt states. Cache: buffers kept for reuse, given back under pressure. Peak: the"
            " most that was ever active.",
            {"{{kind}}": f"sum by (kind) ({series('llm_server_mlx_memory_bytes')})"},
            "bytes",
            colors={"active": BLUE, "cache": GREEN, "peak": RED},
        ),
        lines(
            "Process memory",
            "The physical footprint: what a process costs this machine, GPU memory included.",
            {"{{process}}": f"sum by (process) ({series('llm_server_process_phys_footprint_bytes')})"},
            "bytes",
            stacked=True,
            colors={"engine": BLUE, "api": ORANGE, "supervisor": GREEN},
        ),
        lines(
            "How full",
            "Prompts: of the room for prompt states, what running requests take. MLX: active memory, of what the device"
            " may use. Machine: the server's processes, of all memory. A request that does not fit waits.",
            {
                "prompts": f"max({series('vllm:kv_cache_usage_perc', MODEL)})",
                "MLX": f"{active} / sum({series('llm_server_memory_budget_bytes')})",
                "machine": f"{footprint} / sum({series('llm_server_machine_memory_bytes')})",
            },
            "percentunit",
            at_least=1,
            colors={"prompts": GREEN, "MLX": BLUE, "machine": PURPLE},
        ),
        lines(
            "Prompt cache",
            "What is kept of earlier prompts, so that the next one on the same beginning need not compute it again.",
            {"kept": f"sum({series('llm_server_prefix_cache_bytes')})"},
            "bytes",
            at_least=2**20,
            colors={"kept": GREEN},
        ),
    ]
    return [panel.span(6) for panel in panels]


def _machine() -> list[PanelBuilder]:
    return [
        lines(
            "Engine restarts",
            "Restarts within five minutes, by reason. abort: Metal gave up a command. killed: often the system, for"
            " memory. watchdog: it was stuck. canary: it could not generate.",
            {"{{reason}}": f"sum by (reason) (increase({series('llm_server_engine_restarts_total')}[5m]))"},
            "short",
            stacked=True,
            at_least=1,
            colors={"crash": RED, "abort": ORANGE, "killed": PURPLE, "watchdog": YELLOW, "canary": BLUE},
        ),
        lines(
            "Canary",
            "Results of the one-token generations within five minutes.",
            {"{{result}}": f"sum by (result) (increase({series('llm_server_canary_total')}[5m]))"},
            "short",
            stacked=True,
            at_least=1,
            colors={"ok": GREEN, "error": RED, "timeout": ORANGE},
        ),
        lines(
            "macOS: heat and memory pressure",
            "Heat: 0 nominal, 1 moderate, 2 heavy (the GPU is slowed down), 3 trapping, 4 sleeping. Pressure: 1 normal,"
            " 2 warning, 4 critical. Empty elsewhere.",
            {
                "heat": f"max({series('llm_server_thermal_state')})",
                "pressure": f"max({series('llm_server_memory_pressure_level')})",
            },
            "short",
            colors={"heat": ORANGE, "pressure": PURPLE},
        ),
    ]
