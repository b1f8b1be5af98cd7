"""Model folders for tests of what is around a model: real files with few and small tensors, written without MLX."""

from __future__ import annotations

import json
import struct
from math import prod
from pathlib import Path
from typing import Any, Final

LAYERS: Final = 2
WIDTH: Final = 4

CONFIG: Final[dict[str, Any]] = {
    "model_type": "gpt_oss",
    "vocab_size": 201_088,
    "num_hidden_layers": LAYERS,
    "hidden_size": WIDTH,
    "max_position_embeddings": 4096,
}


def safetensors(shapes: dict[str, list[int]]) -> bytes:
    """A weight file of float32 zeros."""
    header: dict[str, Any] = {"__metadata__": {"format": "mlx"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 4 * prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(end)


def layer(number: int) -> dict[str, list[int]]:
    return {f"model.layers.{number}.input_layernorm.weight": [WIDTH]}


def one_file() -> dict[str, bytes]:
    """A whole model in one weight file."""
    tensors = {"model.norm.weight": [WIDTH]} | layer(0) | layer(1)
    return {"config.json": json.dumps(CONFIG).encode(), "model.safetensors": safetensors(tensors)}


def two_shards() -> dict[str, bytes]:
    """A whole model in two weight files and their index."""
    shards = [{"model.norm.weight": [WIDTH]} | layer(0), layer(1)]
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    index = {tensor: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
    return {
        "config.json": json.dumps(CONFIG).encode(),
        "model.safetensors.index.json": json.dumps({"metadata": {}, "weight_map": index}).encode(),
        **{name: safetensors(shard) for name, shard in zip(names, shards, strict=True)},
    }


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder
