"""What makes a model fast on a CPU changes how it computes, and nothing of what comes out."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.models.activations import SwigluOAI
from mlx_lm.models.base import create_causal_mask
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.models.switch_layers import SwitchGLU

from gpt_oss_tiny.evaluate import load
from llm_server.engine.cpu import Experts
from llm_server.engine.cpu_attention import FEW_TOKENS, attended

WHICH_BLAS = """
import ctypes
from llm_server.engine.blas import use_openblas
used = use_openblas()
import mlx.core as mx
import numpy as np
a, b = (np.random.default_rng(seed).normal(size=(70, 70)).astype(np.float32) for seed in (1, 2))
product = np.array(mx.matmul(mx.array(a), mx.array(b), stream=mx.cpu))
assert np.allclose(product, a @ b, atol=1e-4), "a wrong product"
maps = open("/proc/self/maps").read()
everyones = ctypes.cast(ctypes.CDLL(None).cblas_sgemm, ctypes.c_void_p).value if used else 0
ranges = [line.split()[0].split("-") for line in maps.splitlines() if "openblas" in line]
print(used, any(int(low, 16) <= everyones < int(high, 16) for low, high in ranges))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="MLX has its own library of matrix products elsewhere")
def test_mlx_multiplies_with_openblas() -> None:
    result = subprocess.run([sys.executable, "-c", WHICH_BLAS], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["True", "True"]


@pytest.mark.parametrize("tokens", [1, 2, 3, 64, 300])
@pytest.mark.parametrize("bias", [False, True])
def test_experts_computed_together_are_those_that_were_chosen(tokens: int, bias: bool) -> None:
    mx.random.seed(tokens)
    gathered = SwitchGLU(32, 48, 4, activation=SwigluOAI(), bias=bias)
    if bias:
        for layer in (gathered.gate_proj, gathered.up_proj, gathered.down_proj):
            layer.bias = mx.random.normal(layer.bias.shape)
    x = mx.random.normal((2, tokens, 32))
    indices = mx.random.randint(0, 4, (2, tokens, 2))
    together = Experts(gathered)(x, indices)
    assert together.shape == (2, tokens, 2, 32)
    assert np.allclose(np.array(together), np.array(gathered(x, indices)), atol=1e-4)


@pytest.mark.parametrize("streams", [1, 2, 4])
@pytest.mark.parametrize(("tokens", "before"), [(33, 0), (128, 0), (300, 0), (40, 700), (500, 1100)])
def test_attention_in_tiles_is_attention(tokens: int, before: int, streams: int) -> None:
    parts = _queries_keys_and_values(1, tokens, before)
    seen = _attended(*parts, "causal", None, streams)
    assert np.allclose(seen, _as_mlx_does(*parts, "causal"), atol=1e-5)


@pytest.mark.parametrize(("tokens", "before"), [(33, 0), (129, 7), (300, 63), (500, 127)])
@pytest.mark.parametrize("told", [True, False])
def test_attention_in_a_window_is_attention_with_its_mask(tokens: int, before: int, told: bool) -> None:
    parts = _queries_keys_and_values(1, tokens, before)
    mask = create_causal_mask(tokens, before, window_size=64)
    seen = _attended(*parts, mask if told else "causal", 64, 2)
    assert np.allclose(seen, _as_mlx_does(*parts, mask), atol=1e-5)


@pytest.mark.parametrize("window", [None, 64])
def test_attention_sees_no_padding(window: int | None) -> None:
    parts = _queries_keys_and_values(3, 200, 400)
    mask = create_causal_mask(200, 400, window_size=window, left_padding=mx.array([0, 17, 450]))
    seen, right = _attended(*parts, mask, window, 2), _as_mlx_does(*parts, mask)
    assert np.isfinite(seen).all()
    for row, first in enumerate((0, 0, 50)):
        assert np.allclose(seen[row, :, first:], right[row, :, first:], atol=1e-5)


def test_a_prompt_reads_the_same_in_tiles_as_in_steps_too_small_for_them() -> None:
    model = load()
    mx.random.seed(0)
    tokens = mx.random.randint(0, 200_000, (1, 21 * FEW_TOKENS))
    few, many = (_logits(model, tokens, step) for step in (FEW_TOKENS, 11 * FEW_TOKENS))
    likely = few > few.max(axis=-1, keepdims=True) - 10
    # Two experts may be as good to the last digit: then rounding decides between them.
    differ = (np.abs(few - many) * likely).max(axis=-1) > 0.01
    assert differ.mean() < 0.02
    assert (few.argmax(axis=-1) == many.argmax(axis=-1)).all()


def _logits(model: Any, tokens: mx.array, step: int) -> np.ndarray:
    cache = make_prompt_cache(model)
    parts = [model(tokens[:, at : at + step], cache=cache) for at in range(0, tokens.shape[1], step)]
    return np.array(mx.concatenate(parts, axis=1))


Parts = tuple[mx.array, mx.array, mx.array, mx.array]
HEADS, KEY_HEADS, DIMENSION = 8, 4, 32


def _queries_keys_and_values(rows: int, tokens: int, before: int) -> Parts:
    """And the sinks."""
    mx.random.seed(tokens + before)
    queries = 3 * mx.random.normal((rows, HEADS, tokens, DIMENSION))
    keys, values = (mx.random.normal((rows, KEY_HEADS, before + tokens, DIMENSION)) for _ in range(2))
    return queries, keys, values, mx.random.normal((HEADS,))


def _attended(queries: mx.array, keys: mx.array, values: mx.array, sinks: mx.array, *how: Any) -> np.ndarray:
    mask, window, streams = how
    made = tuple(mx.new_stream(mx.cpu) for _ in range(streams))
    return np.array(attended(queries * DIMENSION**-0.5, keys, values, sinks, mask, window, made))


def _as_mlx_does(queries: mx.array, keys: mx.array, values: mx.array, sinks: mx.array, mask: Any) -> np.ndarray:
    with mx.stream(mx.cpu):
        made = mx.fast.scaled_dot_product_attention(
            queries, keys, values, scale=DIMENSION**-0.5, mask=mask, sinks=sinks
        )
    return np.array(made)
