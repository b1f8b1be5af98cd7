"""A gpt-oss as a CPU runs it fastest: float32, weights laid out for its matrix products, experts computed together.

MLX's quantised and half-precision products are up to 20 times slower on a CPU, and its product with gathered experts
reads an expert's weights once for each token. Knows nothing of requests; changes no result but by rounding.
"""

# mypy: allow-untyped-calls
# (most of mlx_lm has no annotations)

from __future__ import annotations

from typing import Any, Final

import mlx.core as mx
from mlx.nn.layers.base import Module
from mlx.nn.layers.embedding import Embedding
from mlx.nn.layers.linear import Linear
from mlx_lm.models.switch_layers import SwitchGLU, SwitchLinear
from mlx_lm.utils import dequantize_model

from llm_server.engine.cpu_attention import Attention

FEW_EXPERTS: Final = 8
"""Up to so many, computing all of them for every token is faster than gathering those that were chosen."""

MANY_TOKENS: Final = 2


def for_cpu(model: Any) -> Any:
    """The same model in float32, changed in place."""
    model = dequantize_model(model)
    model.set_dtype(mx.float32)
    windows = {"sliding_attention": model.args.sliding_window}
    # A configuration may list more types than there are layers; mlx_lm ignores the rest, too.
    for layer, kind in zip(model.layers, model.model.layer_types, strict=False):
        layer.self_attn = Attention(layer.self_attn, windows.get(kind))
        if isinstance(layer.mlp.experts, SwitchGLU) and layer.mlp.experts.gate_proj.num_experts <= FEW_EXPERTS:
            layer.mlp.experts = Experts(layer.mlp.experts)
    for _, module in model.named_modules():
        if isinstance(module, Linear | Embedding | SwitchLinear):
            _lay_out(module)
    mx.eval(model.parameters())
    return model


class Experts(Module):
    """A `SwitchGLU` that computes all experts for each token where tokens are many, and picks the chosen ones after."""

    def __init__(self, experts: SwitchGLU) -> None:
        super().__init__()
        self.experts = experts

    def __call__(self, x: mx.array, indices: mx.array) -> mx.array:
        """What the chosen experts make of x: (..., width) and (..., chosen) to (..., chosen, width)."""
        if indices.size // indices.shape[-1] < MANY_TOKENS:
            return self.experts(x, indices)
        tokens = x.reshape(1, -1, x.shape[-1])
        gate = _all(self.experts.gate_proj, tokens)
        up = _all(self.experts.up_proj, tokens)
        made = _all(self.experts.down_proj, self.experts.activation(up, gate))
        chosen = indices.reshape(-1, indices.shape[-1], 1)
        picked = mx.take_along_axis(made.swapaxes(0, 1), chosen, axis=1)
        return picked.reshape(*indices.shape, -1)


def _all(layer: Any, x: mx.array) -> mx.array:
    """Every expert's product: (experts or 1, tokens, in) to (experts, tokens, out)."""
    product: mx.array = x @ layer.weight.swapaxes(-1, -2)
    return product + layer.bias[:, None] if "bias" in layer else product


def _lay_out(module: Any) -> None:
    """MLX multiplies by the transposed weight, which is faster when that lies contiguous in memory."""
    module.weight = mx.contiguous(module.weight.swapaxes(-1, -2)).swapaxes(-1, -2)
