"""How many keys and values fit beside the model: those of requests that run, and those of prompts that may come again.

Arithmetic, but for `device_memory`, which asks MLX and the system. Knows no arrays and no requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import mlx.core as mx

from llm_server.engine.types import ModelInfo
from llm_server.model_source import this_machine
from llm_server.settings import Settings

GIB: Final = 2**30

_RUNNING_SHARE: Final = 0.5
_KNOWN_SHARE: Final = 0.35
"""Shares of what the model leaves. The rest is for what exists for a moment, as when a batch is made longer."""

_LEAST_RUNNING: Final = GIB // 2
_LEAST_KNOWN: Final = GIB // 4
"""Bytes that are taken even where the model leaves nothing: a server that can not hold a prompt is of no use."""

_MOST_KNOWN_CONTEXTS: Final = 4
"""No more is taken unasked than so many prompts as long as the model's context need."""

_GPU_MEMORY: Final = ("max_recommended_working_set_size", "total_memory", "memory_size")
"""What MLX calls it, on one backend or another."""


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """`kv_tokens` are those of the longest request times the number of requests, because that is what a batch takes.

    `buffer_bytes` that were freed may be kept for reuse. MLX keeps, by default, as many as memory holds, and prompts of
    ever new lengths would fill it. `available_bytes` is what all of this, and the model, is to fit into.
    """

    kv_tokens: int = 2**31
    prefix_cache_bytes: int = 0
    buffer_bytes: int = 2 * GIB
    available_bytes: int = 0


@dataclass(frozen=True, slots=True)
class TokenBytes:
    """Bytes of a token's keys and values in the layers that see everything, and in those that see a window."""

    full: int
    windowed: int


def plan_memory(settings: Settings, info: ModelInfo, token: TokenBytes, available: int) -> MemoryPlan:
    """Shares of `available` bytes, of which the model takes some. What a setting says is taken as it is."""
    buffers = min(2 * GIB, available // 10)
    free = max(0, available - info.memory_bytes - buffers)
    running = max(int(free * _RUNNING_SHARE), _LEAST_RUNNING)
    most_known = _MOST_KNOWN_CONTEXTS * info.context_length * (token.full + token.windowed)
    known = min(max(int(free * _KNOWN_SHARE), _LEAST_KNOWN), most_known)
    kv_tokens = max(running // token.full, settings.context_length or 0)
    return MemoryPlan(
        settings.max_kv_tokens or min(kv_tokens, settings.max_concurrency * info.context_length),
        known if settings.prefix_cache_bytes is None else settings.prefix_cache_bytes,
        buffers,
        available,
    )


def device_memory(device: str) -> int:
    """Bytes that MLX may use: a GPU's own or what macOS lets it have; of a CPU's, half, for others live there, too."""
    info = mx.device_info()
    for name in _GPU_MEMORY if device == "gpu" else ():
        if name in info:
            return int(info[name])
    return this_machine().memory_bytes // 2
