"""Checkpoints of the training become a model folder: `python -m gpt_oss_tiny.convert CHECKPOINT [CHECKPOINT …]`.

Of several checkpoints of one training it takes the mean, which forgets less than the last of them does (model soups,
arXiv:2203.05482). And back, to train on from what ships: `python -m gpt_oss_tiny.convert --back CHECKPOINT`.

The names are mlx_lm's already. What is left is to quantise: 8 bits in groups of 64 for embedding, projections and
experts, float16 for norms, sinks, biases and routers, as builds of gpt-oss for MLX have it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import mlx.core as mx
from mlx.nn.layers.quantized import quantize
from mlx.utils import tree_flatten
from mlx_lm.utils import dequantize_model, load_model

from gpt_oss_tiny import MODEL_FOLDER
from llm_server.engine.reduced_vocabulary import Model, ModelArgs, model_classes

GROUP_SIZE: Final = 64
BITS: Final = 8

RECOMMENDED: Final = {"do_sample": False, "max_new_tokens": 4096}
"""For requests that do not say otherwise: its likeliest words are the right ones, and what it was never taught it may
say without an end."""


def load_checkpoint(folder: Path) -> tuple[Model, dict[str, Any]]:
    """The model in float32 and its configuration."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    model = Model(ModelArgs.from_dict(config))  # type: ignore[no-untyped-call]
    for part in sorted(folder.glob("model-*.safetensors")):
        model.load_weights(str(part), strict=False)
    return model, config


def mean_of(checkpoints: Sequence[Path]) -> tuple[Model, dict[str, Any]]:
    """The model whose weights are the mean of these. Raises ValueError unless all know the same ids."""
    model, config = load_checkpoint(checkpoints[0])
    weights = dict(tree_flatten(model.parameters()))
    for checkpoint in checkpoints[1:]:
        others = dict(tree_flatten(load_checkpoint(checkpoint)[0].parameters()))
        if not mx.array_equal(weights["token_ids"], others["token_ids"]):
            raise ValueError(f"{checkpoint} has rows of its own for other ids than {checkpoints[0]}.")
        weights = {name: _sum(value, others[name]) for name, value in weights.items()}
    model.load_weights([(name, _divided(value, len(checkpoints))) for name, value in weights.items()])
    return model, config


def _sum(one: mx.array, other: mx.array) -> mx.array:
    return one + other if mx.issubdtype(one.dtype, mx.floating) else one


def _divided(value: mx.array, count: int) -> mx.array:
    return value / count if mx.issubdtype(value.dtype, mx.floating) else value


def convert(checkpoints: Sequence[Path], folder: Path) -> int:
    """Write a model folder of the mean of these checkpoints; returns its bytes."""
    model, config = mean_of(checkpoints)
    model.set_dtype(mx.float16)
    quantize(model, GROUP_SIZE, BITS, class_predicate=_is_quantized)
    config["quantization"] = {"group_size": GROUP_SIZE, "bits": BITS}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "generation_config.json").write_text(json.dumps(RECOMMENDED, indent=2) + "\n")
    mx.save_safetensors(str(folder / "model.safetensors"), dict(tree_flatten(model.parameters())), {"format": "mlx"})
    return sum(file.stat().st_size for file in folder.iterdir())


def unpack(folder: Path, checkpoint: Path) -> None:
    """Write a float32 checkpoint that `gpt_oss_tiny.train --resume-from` reads, from a model folder.

    Its `ids.txt` is for `--vocabulary`: that of the corpus as it is now may leave out what the model knows.
    """
    model, config = load_model(folder, get_model_classes=model_classes)
    model = dequantize_model(model)
    model.set_dtype(mx.float32)
    checkpoint.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in config.items() if not name.startswith("quantization")}
    (checkpoint / "config.json").write_text(json.dumps(kept, indent=2) + "\n")
    weights = dict(tree_flatten(model.parameters()))
    (checkpoint / "ids.txt").write_text(" ".join(map(str, weights["token_ids"].tolist())) + "\n")
    mx.save_safetensors(str(checkpoint / "model-0.safetensors"), weights)


def _is_quantized(path: str, module: Any) -> bool:
    return hasattr(module, "to_quantized") and not path.endswith("router")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path, nargs="+")
    parser.add_argument("--model", type=Path, default=MODEL_FOLDER, help="the model folder")
    parser.add_argument("--back", action="store_true", help="write the checkpoint from the folder")
    chosen = parser.parse_args()
    if not chosen.back:
        print(f"{convert(chosen.checkpoint, chosen.model):,} bytes in {chosen.model}")  # noqa: T201
    elif len(chosen.checkpoint) == 1:
        unpack(chosen.model, chosen.checkpoint[0])
    else:
        parser.error("--back writes one checkpoint")
