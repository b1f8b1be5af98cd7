"""A gpt-oss of random weights with MLX's own blocks, and what it says when the whole text is read for each token."""

from __future__ import annotations

from typing import Any, Final

import mlx.core as mx
import numpy as np
from mlx.utils import tree_map_with_path
from mlx_lm.models import gpt_oss

VOCABULARY: Final = 300
WINDOW: Final = 128


class RandomModel:
    """`model` is float32. Its weights are large, so that its answer depends on every token that attention can see."""

    def __init__(self, *, layers: int = 2, seed: int = 1, vocabulary: int = VOCABULARY) -> None:
        self.model: Any = gpt_oss.Model(
            gpt_oss.ModelArgs(
                num_hidden_layers=layers,
                num_local_experts=4,
                num_experts_per_tok=2,
                vocab_size=vocabulary,
                hidden_size=64,
                intermediate_size=64,
                head_dim=16,
                num_attention_heads=4,
                num_key_value_heads=2,
                sliding_window=WINDOW,
                rope_scaling={
                    "rope_type": "yarn",
                    "factor": 32.0,
                    "original_max_position_embeddings": 4096,
                    "beta_fast": 32.0,
                    "beta_slow": 1.0,
                },
            )
        )
        keys = iter(mx.random.split(mx.random.key(seed), 1000))

        def weights(path: str, array: mx.array) -> mx.array:
            if "norm" in path:
                return array
            noise = mx.random.normal(array.shape, key=next(keys))
            if "embed" in path:
                return noise
            return noise * (0.1 if path.endswith(("bias", "sinks")) else 0.3)

        self.model.update(tree_map_with_path(weights, self.model.parameters()))
        mx.eval(self.model.parameters())

    def logits(self, tokens: list[int]) -> mx.array:
        """Logits (vocabulary,) after `tokens`, computed afresh without any cache."""
        logits: mx.array = self.model(mx.array([tokens]))[0, -1]
        return logits

    def greedy(self, prompt: list[int], count: int) -> list[int]:
        """The likeliest answer, with the whole text read again for each token."""
        tokens = list(prompt)
        for _ in range(count):
            tokens.append(int(np.array(mx.argmax(self.logits(tokens)))))
        return tokens[len(prompt) :]
