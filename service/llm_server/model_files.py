"""A model folder, checked before anything reads its weights: is it a whole gpt-oss, in safetensors?

Only headers and sizes are read, so a folder of any size takes milliseconds, and every fault is one line that says what
is wrong and what to do. Knows nothing of MLX, of where the folder came from, or of what the tensors are for.
"""

from __future__ import annotations

import json
import logging
import math
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from llm_server.conversation import GenerationDefaults
from llm_server.harmony.encoding import VOCABULARY_SIZE

logger = logging.getLogger(__name__)

MODEL_TYPE: Final = "gpt_oss"
INDEX: Final = "model.safetensors.index.json"
DEFAULT_CONTEXT_LENGTH: Final = 131_072

_LONGEST_HEADER: Final = 100_000_000
"""The format's own limit (https://github.com/huggingface/safetensors, "Format")."""

_ITEM_BITS: Final = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
}
_RECOMMENDED: Final[dict[str, tuple[str, Callable[[float], bool]]]] = {
    "temperature": ("temperature", lambda value: 0 <= value <= 2),
    "top_p": ("top_p", lambda value: 0 < value <= 1),
    "top_k": ("top_k", lambda value: isinstance(value, int) and 0 <= value <= 1_000_000),
    "min_p": ("min_p", lambda value: 0 <= value <= 1),
    "repetition_penalty": ("repetition_penalty", lambda value: 0 < value <= 10),
    "max_new_tokens": ("max_tokens", lambda value: isinstance(value, int) and 1 <= value < 2**31),
}
"""What of `generation_config.json` is heeded: our names, and what each may be."""
_SIZES: Final = ("num_hidden_layers", "hidden_size", "intermediate_size", "head_dim", "num_attention_heads")
_LAYER: Final = re.compile(r"model\.layers\.(\d+)\.")


class ModelError(Exception):
    """The model can not be served. The message is one line: what is wrong, and what to do about it."""


class DamagedModel(ModelError):
    """Files of the model are missing, cut off or altered. `files` are their names in the folder."""

    def __init__(self, message: str, *files: str) -> None:
        super().__init__(message)
        self.files = files


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A folder that holds a whole gpt-oss. `size` is that of the weight files, in bytes.

    `defaults` are what its maker recommends for requests that do not say otherwise.
    """

    folder: Path
    config: Mapping[str, Any]
    weights: tuple[Path, ...]
    size: int
    defaults: GenerationDefaults

    @property
    def context_length(self) -> int:
        """Tokens of prompt and answer together that the model was made for."""
        if length := self.config.get("max_position_embeddings"):
            return int(length)
        scaling = self.config.get("rope_scaling") or {}
        original, factor = scaling.get("original_max_position_embeddings"), scaling.get("factor")
        return int(original * factor) if original and factor else DEFAULT_CONTEXT_LENGTH


def read_model_files(folder: Path) -> ModelFiles:
    """Check a folder's configuration, the presence of every shard and the consistency of their headers.

    Raises:
        DamagedModel: files are missing, cut off, or no safetensors or JSON.
        ModelError: the folder holds something else than gpt-oss, or can not be read.
    """
    try:
        config = _config(folder)
        weights = _weights(folder)
        shapes = _shapes(weights)
        _check_index(folder, shapes)
        defaults = _defaults(folder / "generation_config.json")
    except OSError as error:
        raise ModelError(f"{error.filename or folder} can not be read: {error.strerror}") from error
    _check_layers(folder, config, shapes)
    return ModelFiles(folder, config, weights, sum(path.stat().st_size for path in weights), defaults)


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise DamagedModel(f"{folder} is no model folder: it has no config.json", path.name)
    config = _json(path)
    if (kind := config.get("model_type")) != MODEL_TYPE:
        raise ModelError(f"{folder} holds a model of type {kind!r}; this server runs {MODEL_TYPE!r} only")
    if "model_file" in config:
        raise ModelError(f"{path} names a model_file: code that comes with a model is never run")
    if (size := config.get("vocab_size", VOCABULARY_SIZE)) != VOCABULARY_SIZE:
        raise ModelError(f"{path}: vocab_size is {size}; gpt-oss with the Harmony vocabulary has {VOCABULARY_SIZE}")
    for name in _SIZES:
        if not isinstance(value := config.get(name, 1), int) or value < 1:
            raise ModelError(f"{path}: {name} is {value!r}, not a positive number")
    return config


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        raise DamagedModel(f"{path} is no JSON: it is damaged or incomplete", path.name) from None
    if not isinstance(content, dict):
        raise DamagedModel(f"{path} holds no JSON object", path.name)
    return content


def _defaults(path: Path) -> GenerationDefaults:
    """transformers' names (GenerationConfig). Of what makes no sense, the server's own default holds, and a line."""
    if not path.is_file():
        return GenerationDefaults()
    recommended = _json(path)
    if recommended.get("do_sample") is False:
        recommended["temperature"] = 0.0
    known: dict[str, Any] = {}
    for name, (field, fits) in _RECOMMENDED.items():
        value = recommended.get(name)
        if value is not None and not (_is_number(value) and fits(value)):
            logger.warning("%s: %s is ignored, since it is %r", path, name, value)
        elif value is not None:
            known[field] = value
    return GenerationDefaults(**known)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _weights(folder: Path) -> tuple[Path, ...]:
    """The files that MLX reads, which are those of this pattern whatever the index says."""
    found = tuple(sorted(folder.glob("model*.safetensors")))
    if missing := [name for name in _index(folder) if folder / name not in found]:
        raise DamagedModel(f"{folder} is incomplete: {_listed(missing)} of its index is missing", *missing)
    if found:
        return found
    others = sorted(path.name for path in folder.iterdir() if path.suffix in {".bin", ".gguf", ".npz", ".pt", ".pth"})
    if others:
        raise ModelError(f"{folder} has its weights as {_listed(others)}; only safetensors are read")
    raise DamagedModel(f"{folder} has no weights: model*.safetensors is missing", "model*.safetensors")


def _index(folder: Path) -> dict[str, list[str]]:
    """Tensor names by weight file, of a model in several files; of a single file, nothing."""
    path = folder / INDEX
    if not path.is_file():
        return {}
    files: dict[str, list[str]] = {}
    names = _json(path).get("weight_map")
    if not isinstance(names, dict):
        raise DamagedModel(f"{path} has no weight_map: it is damaged", path.name)
    for tensor, file in names.items():
        files.setdefault(str(file), []).append(tensor)
    return files


def _check_index(folder: Path, shapes: Mapping[str, list[int]]) -> None:
    for file, tensors in _index(folder).items():
        if missing := [name for name in tensors if name not in shapes]:
            raise DamagedModel(f"{folder / file} lacks {_listed(missing)} of the index: it is of another model", file)


def _check_layers(folder: Path, config: Mapping[str, Any], shapes: Mapping[str, list[int]]) -> None:
    """A configuration that belongs to other weights would be built at its full size before it were found out."""
    layers = {int(match[1]) for name in shapes if (match := _LAYER.match(name))}
    declared = config.get("num_hidden_layers")
    if declared != len(layers):
        raise ModelError(f"{folder}: config.json declares {declared} layers, the weights have {len(layers)}")
    if len(types := config.get("layer_types") or layers) != len(layers):
        raise ModelError(f"{folder}: config.json has {len(types)} layer_types for {len(layers)} layers")
    width = shapes.get("model.norm.weight")
    if width != [config.get("hidden_size")]:
        raise ModelError(f"{folder}: config.json's hidden_size {config.get('hidden_size')} is not that of the weights")


def _shapes(weights: tuple[Path, ...]) -> dict[str, list[int]]:
    shapes: dict[str, list[int]] = {}
    for path in weights:
        for name, shape in _header(path):
            if name in shapes:
                raise ModelError(f"{path} holds {name} a second time: the folder mixes two builds of a model")
            shapes[name] = shape
    return shapes


def _header(path: Path) -> Iterator[tuple[str, list[int]]]:
    """Name and shape of every tensor of a file whose size is the one that its header implies."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if start == b"version ":
            raise DamagedModel(f"{path} is a Git LFS pointer, not the weights: run `git lfs pull` there", path.name)
        if not 2 <= length <= min(size - 8, _LONGEST_HEADER):
            raise _damaged(path)
        header = file.read(length)
    try:
        tensors = json.loads(header)
        tensors.pop("__metadata__", None)
        yield from _check_tensors(path, tensors, size - 8 - length)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _damaged(path) from None


def _check_tensors(path: Path, tensors: Mapping[str, Any], size: int) -> Iterator[tuple[str, list[int]]]:
    end = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1]["data_offsets"]):
        first, last = tensor["data_offsets"]
        if first != end or last - first != math.prod(tensor["shape"]) * _ITEM_BITS[tensor["dtype"]] // 8:
            raise _damaged(path)
        end = last
        yield name, list(tensor["shape"])
    if end != size:
        raise _damaged(path, f"it has {size} bytes of weights where its header promises {end}")


def _damaged(path: Path, how: str = "its header makes no sense") -> DamagedModel:
    return DamagedModel(f"{path} is cut off or damaged ({how}): download or copy it again", path.name)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} (and {len(names) - 1} more)"
