"""What makes a model fast on a CPU changes how it computes, and nothing of what comes out."""

from __future__ import annotations

import subprocess
import sys

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.models.activations import SwigluOAI
from mlx_lm.models.switch_layers import SwitchGLU

from llm_server.engine.cpu import Experts

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
