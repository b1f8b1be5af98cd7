"""What the model leaves is shared out: never more than there is, never so little that nothing could run."""

from __future__ import annotations

from typing import Any

import pytest

from llm_server.engine.memory import GIB, MemoryPlan, TokenBytes, device_memory, plan_memory
from llm_server.engine.types import ModelInfo
from llm_server.model_source import this_machine
from llm_server.settings import Settings

TOKEN = TokenBytes(full=24_576, windowed=24_576)
"""gpt-oss-20b: 12 layers of each kind, 8 heads of 64, keys and values of two bytes."""


def plan(available: int, model: int = 12 * 10**9, **settings: Any) -> MemoryPlan:
    info = ModelInfo("gpt-oss-20b", 131_072, "mxfp4", "gpu", 1, model)
    return plan_memory(Settings(**settings), info, TOKEN, available)


def held(plan: MemoryPlan) -> int:
    return plan.kv_tokens * TOKEN.full + plan.prefix_cache_bytes + plan.buffer_bytes


@pytest.mark.parametrize("gib", [18, 24, 48, 96, 400])
def test_all_together_fit_beside_the_model_and_leave_some(gib: int) -> None:
    assert 12 * 10**9 + held(plan(gib * GIB)) < gib * GIB
    assert plan(gib * GIB).kv_tokens > 32_768


def test_a_machine_that_the_model_fills_can_still_hold_a_conversation() -> None:
    small = plan(12 * GIB)
    assert small.kv_tokens > 16_384
    assert small.prefix_cache_bytes >= 256 * 2**20


def test_nobody_takes_more_than_can_be_used() -> None:
    large = plan(10_000 * GIB)
    assert large.kv_tokens == 32 * 131_072
    assert large.prefix_cache_bytes == 4 * 131_072 * (TOKEN.full + TOKEN.windowed)


def test_what_is_set_is_taken() -> None:
    chosen = plan(24 * GIB, prefix_cache_bytes=0, max_kv_tokens=1000)
    assert (chosen.prefix_cache_bytes, chosen.kv_tokens) == (0, 1000)
    assert plan(12 * GIB, context_length=100_000).kv_tokens == 100_000


def test_a_processor_lets_others_have_half_of_its_memory() -> None:
    assert 0 < device_memory("cpu") <= this_machine().memory_bytes // 2
