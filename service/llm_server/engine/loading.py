"""From a model's files to a model in memory: quantised as the settings say, on the right device.

One of the few files that import MLX. Loads weights and nothing else: no tokenizer, because Harmony's vocabulary is the
server's own, and no code, whatever a model's folder may ask for.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import mlx.core as mx
from mlx.nn.layers.base import Module
from mlx.nn.layers.quantized import quantize
from mlx.utils import tree_flatten
from mlx_lm.models.switch_layers import SwitchLinear
from mlx_lm.utils import get_total_parameters, load_model

from llm_server.engine.cpu import for_cpu
from llm_server.engine.found import FoundModel
from llm_server.engine.key_values import Layers
from llm_server.engine.reduced_vocabulary import model_classes
from llm_server.engine.types import ModelInfo
from llm_server.model_files import ModelError, ModelFiles
from llm_server.settings import Quantization, Settings

logger = logging.getLogger(__name__)

GROUP_SIZES: Final = (64, 32)
"""Weights that share a scale, the widest that divides a layer's width being taken."""

FLOAT32_LIMIT: Final = 2**30
"""Bytes up to which a model is held as float32 for a CPU, which multiplies that faster than anything else."""

PREFILL_STEP_SIZES: Final = {"gpu": 512, "cpu": 64}
"""By device: as many as keep it busy. More would make the other streams wait, and a CPU no faster."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """`model` is an `mlx.nn.Module` in evaluation mode whose weights are in memory, and through which a token went."""

    model: Any
    layers: Layers
    info: ModelInfo

    def prefill_step_size(self, settings: Settings) -> int:
        return settings.prefill_step_size or PREFILL_STEP_SIZES[self.info.device]


def load(found: FoundModel, quantization: Quantization | None) -> LoadedModel:
    """Load a model on the device that it was found for.

    Raises:
        ModelError: its files do not fit each other, or are none that MLX understands.
    """
    started = time.monotonic()
    with _blamed(found.files.folder):
        model = _in_memory(found.files, quantization, found.device)
        layers = Layers(model)
    info = ModelInfo(
        name=found.name,
        context_length=found.context_length,
        quantization=_precision(model),
        device=found.device,
        parameters=_parameters(model),
        memory_bytes=_bytes(model),
        defaults=found.files.defaults,
    )
    _log_loaded(info, time.monotonic() - started)
    return LoadedModel(model, layers, info)


@contextmanager
def _blamed(folder: Path) -> Iterator[None]:
    """Whatever MLX makes of a folder that looked whole, its first line says it best."""
    try:
        yield
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RuntimeError, OSError) as error:
        logger.debug("Loading %s failed", folder, exc_info=True)
        first_line = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError(f"{folder} can not be loaded: {first_line[:300]}") from error


def _in_memory(files: ModelFiles, quantization: Quantization | None, device: str) -> Any:
    """The model with its weights read and in the precision that was asked for."""
    _warn_if_too_large(files, device)
    model, _ = load_model(files.folder, lazy=True, get_model_classes=model_classes)
    return _prepared(model, quantization, device)


def _prepared(model: Any, quantization: Quantization | None, device: str) -> Any:
    match quantization:
        case "int4":
            _quantize(model, bits=4)
        case "int8":
            _quantize(model, bits=8)
        case "fp16":
            # Not float16: the residuals of gpt-oss grow beyond its largest number, and every logit becomes NaN.
            model.set_dtype(mx.bfloat16, lambda dtype: dtype == mx.float32)
        case "none":
            pass
        case None:
            if device == "cpu" and _fits_as_float32(_parameters(model)):
                model = for_cpu(model)
    if device == "cpu":
        _widen_experts(model)
    for layer in model.layers:
        mx.eval(layer.parameters())  # one at a time: what a layer was quantised from is gone before the next is read
    mx.eval(model.parameters())
    return model.eval()


def _quantize(model: Any, *, bits: int) -> None:
    """Quantise the layers that the files have as floats. The router stays at 8 bits, as in every published build."""

    def precision(path: str, module: Any) -> bool | dict[str, Any]:
        if not hasattr(module, "to_quantized"):
            return False
        group_size = next((size for size in GROUP_SIZES if module.weight.shape[-1] % size == 0), None)
        if group_size is None:
            return False
        wanted = model.quant_predicate(path, module)
        own_bits = wanted.get("bits", bits) if isinstance(wanted, dict) else bits
        return bool(wanted) and {"group_size": group_size, "bits": own_bits, "mode": "affine"}

    quantize(model, class_predicate=precision)


def _widen_experts(model: Any) -> None:
    """MLX's product with gathered experts exists for float32 and for quantised weights only, on a CPU."""
    for _, module in model.named_modules():
        if isinstance(module, SwitchLinear):
            module.set_dtype(mx.float32)


def _precision(model: Any) -> str:
    """What the weights are made of, by share of the memory: `mxfp4+int8`, `float32`."""
    sizes: Counter[str] = Counter()
    for module in _leaves(model.leaf_modules()):
        if "weight" in module and module.weight.ndim > 1:
            sizes[_kind(module)] += _bytes(module)
    total = sizes.total()
    return "+".join(kind for kind, size in sizes.most_common() if size > total / 100)


def _kind(module: Any) -> str:
    if not hasattr(module, "bits"):
        return str(module.weight.dtype).rpartition(".")[2]
    return f"int{module.bits}" if module.mode == "affine" else str(module.mode)


def _bytes(module: Any) -> int:
    return sum(int(array.nbytes) for array in _leaves(module.parameters()))


def _parameters(model: Any) -> int:
    return int(get_total_parameters(model))  # type: ignore[no-untyped-call]


def _leaves(tree: Any) -> list[Any]:
    """The arrays of a tree of parameters, or the modules of a tree of modules."""
    return [leaf for _, leaf in cast(list[tuple[str, Any]], tree_flatten(tree, is_leaf=Module.is_module))]


def _warn_if_too_large(files: ModelFiles, device: str) -> None:
    limit = mx.device_info().get("max_recommended_working_set_size") if device == "gpu" else None
    if limit and files.size > int(limit):
        needs, has = files.size / 1e9, int(limit) / 1e9
        logger.warning(
            "The weights (%.1f GB) exceed what this GPU can hold (%.1f GB): try LLM_QUANTIZATION=int4", needs, has
        )


def _fits_as_float32(parameters: int) -> bool:
    return 4 * parameters <= FLOAT32_LIMIT


def _log_loaded(info: ModelInfo, seconds: float) -> None:
    logger.info(
        "Loaded %s in %.1f s: %s on the %s, %.1f million parameters in %.0f MB, context of %d tokens",
        info.name,
        seconds,
        info.quantization,
        info.device.upper(),
        info.parameters / 1e6,
        info.memory_bytes / 1e6,
        info.context_length,
    )
    if info.device == "cpu" and info.quantization != "float32" and _fits_as_float32(info.parameters):
        logger.warning("With LLM_QUANTIZATION unset the weights become float32, and this CPU is many times as fast")
