"""Loading with real MLX: what the settings ask for is what is in memory, and what can not be loaded says why."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import mlx.core as mx
import pytest
from mlx.nn.layers.quantized import quantize
from mlx.utils import tree_flatten

from gpt_oss_tiny import MODEL_FOLDER
from llm_server.engine.found import find_model, use_device
from llm_server.engine.loading import LoadedModel, load
from llm_server.engine.reduced_vocabulary import Model, ModelArgs
from llm_server.harmony.encoding import VOCABULARY_SIZE
from llm_server.model_files import ModelError
from llm_server.settings import Device, Quantization, Settings

WIDTH: Final = 64
CONFIG: Final[dict[str, Any]] = {
    "model_type": "gpt_oss",
    "vocab_size": 201_088,
    "reduced_vocabulary": 96,
    "num_hidden_layers": 2,
    "hidden_size": WIDTH,
    "intermediate_size": WIDTH,
    "head_dim": 32,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "num_local_experts": 4,
    "num_experts_per_tok": 4,  # all of them, or a rounding error could choose another one
    "max_position_embeddings": 8192,
    "rope_scaling": {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 4096},
}
PROMPT: Final = [[3, 1, 4, 1, 5, 9, 2, 6]]


def _write(folder: Path, *, dtype: mx.Dtype = mx.float32, mxfp4_experts: bool = False) -> Path:
    """A gpt-oss with random weights; with MXFP4 experts it has the make-up of the published builds."""
    folder.mkdir()
    mx.random.seed(0)
    model = Model(ModelArgs.from_dict(CONFIG))  # type: ignore[no-untyped-call]
    model.set_dtype(dtype)
    config = dict(CONFIG)
    if mxfp4_experts:
        packed = {"group_size": 32, "bits": 4, "mode": "mxfp4"}
        quantize(
            model, class_predicate=lambda path, module: hasattr(module, "to_quantized") and "experts" in path and packed
        )
        config["quantization_config"] = {"quant_method": "mxfp4"}
    weights: Any = tree_flatten(model.parameters())
    mx.save_safetensors(str(folder / "model.safetensors"), dict(weights), metadata={"format": "mlx"})
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def float32_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write(tmp_path_factory.mktemp("models") / "gpt-oss-20b-fp32")


@pytest.fixture(scope="module")
def mxfp4_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As OpenAI publishes gpt-oss: MXFP4 experts, everything else bfloat16."""
    return _write(tmp_path_factory.mktemp("models") / "gpt-oss-20b", dtype=mx.bfloat16, mxfp4_experts=True)


@pytest.fixture(autouse=True)
def _device_as_before() -> Iterator[None]:
    before = mx.default_device()
    yield
    mx.set_default_device(before)


def _load(folder: Path, quantization: Quantization | None = None, **settings: Any) -> LoadedModel:
    wanted = Settings(model_path=str(folder), quantization=quantization, device="cpu", **settings)
    return load(find_model(wanted), wanted.quantization)


def _logits(loaded: LoadedModel) -> mx.array:
    logits = loaded.model(mx.array(PROMPT))[..., : CONFIG["reduced_vocabulary"]].astype(mx.float32)
    mx.eval(logits)
    return mx.array(logits)


def test_what_is_loaded_is_described(float32_folder: Path) -> None:
    info = _load(float32_folder).info
    assert (info.name, info.context_length, info.quantization, info.device) == ("gpt-oss-20b", 8192, "float32", "cpu")
    vocabulary = 4 * VOCABULARY_SIZE + 4 * CONFIG["reduced_vocabulary"]
    assert info.memory_bytes == pytest.approx(4 * info.parameters + vocabulary, rel=0.01)


@pytest.mark.parametrize(
    ("quantization", "precision"),
    [("int4", "int4"), ("int8", "int8"), ("fp16", "float32+bfloat16"), ("none", "float32"), (None, "float32")],
)
def test_quantization_decides_what_float_layers_become(
    float32_folder: Path, quantization: Quantization | None, precision: str
) -> None:
    """On a CPU experts in 16 bits become float32, the only width in which it can multiply them."""
    assert _load(float32_folder, quantization).info.quantization == precision


@pytest.mark.parametrize(("quantization", "warned"), [("int8", True), ("none", False), (None, False)])
def test_what_slows_a_cpu_down_is_told(
    float32_folder: Path, quantization: Quantization | None, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    _load(float32_folder, quantization)
    assert ("many times as fast" in caplog.text) is warned


def test_the_router_keeps_eight_bits(float32_folder: Path) -> None:
    layer = _load(float32_folder, "int4").model.layers[0]
    assert (layer.mlp.router.bits, layer.self_attn.q_proj.bits, layer.mlp.experts.up_proj.bits) == (8, 4, 4)


@pytest.mark.parametrize(
    ("quantization", "precision"),
    [
        ("int4", {"mxfp4", "int4"}),
        ("int8", {"mxfp4", "int8"}),
        ("fp16", {"mxfp4", "bfloat16"}),
        ("none", {"mxfp4", "bfloat16"}),
        (None, {"float32"}),
    ],
)
def test_layers_that_are_quantised_already_stay_as_they_are(
    mxfp4_folder: Path, quantization: Quantization | None, precision: set[str]
) -> None:
    assert set(_load(mxfp4_folder, quantization).info.quantization.split("+")) == precision


def test_fewer_bits_take_less_memory(float32_folder: Path) -> None:
    builds: list[Quantization] = ["none", "fp16", "int8", "int4"]
    sizes = [_load(float32_folder, build).info.memory_bytes for build in builds]
    assert sizes == sorted(set(sizes), reverse=True)


@pytest.mark.parametrize("quantization", ["none", "fp16", "int8", None])
@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16, mx.float16])
@pytest.mark.parametrize("mxfp4_experts", [True, False])
def test_every_precision_gives_the_same_answer(
    tmp_path: Path, quantization: Quantization | None, dtype: mx.Dtype, mxfp4_experts: bool
) -> None:
    exact = _logits(_load(_write(tmp_path / "exact", mxfp4_experts=mxfp4_experts), "none"))
    other = _logits(_load(_write(tmp_path / "other", dtype=dtype, mxfp4_experts=mxfp4_experts), quantization))
    assert (mx.linalg.norm(exact - other) < 0.1 * mx.linalg.norm(exact)).item()


def test_weights_are_in_memory_when_loading_returns(float32_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "moved"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((float32_folder / name).read_bytes())
    loaded = _load(folder, "none")
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(8)
    assert mx.array_equal(_logits(loaded), _logits(_load(float32_folder, "none")))


def test_the_first_log_line_says_which_model_and_why(float32_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "llm_server"):
        _load(float32_folder)
    assert caplog.messages[0] == f"Serving gpt-oss-20b from {float32_folder}: LLM_MODEL_PATH={float32_folder}"


def test_the_context_can_be_shortened_but_not_stretched(float32_folder: Path) -> None:
    assert _load(float32_folder, context_length=1024).info.context_length == 1024
    with pytest.raises(ModelError, match="LLM_CONTEXT_LENGTH=8193 is more than the 8192 tokens"):
        _load(float32_folder, context_length=8193)


@pytest.mark.skipif(mx.is_available(mx.gpu), reason="this machine has a GPU")
@pytest.mark.parametrize(("device", "words"), [("gpu", "needs a GPU"), ("mps", "needs the GPU of a Mac")])
def test_a_device_that_is_not_there_is_refused(device: Device, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        use_device(device)


@pytest.mark.skipif(mx.is_available(mx.gpu), reason="this machine has a GPU")
def test_auto_is_the_cpu_without_a_gpu() -> None:
    assert use_device("auto") == "cpu"


@pytest.mark.skipif(not mx.is_available(mx.gpu), reason="this machine has no GPU")
@pytest.mark.parametrize(("device", "chosen"), [("auto", "gpu"), ("gpu", "gpu"), ("cpu", "cpu")])
def test_the_device_decides_where_arrays_are_computed(device: Device, chosen: str) -> None:
    assert use_device(device) == chosen
    assert mx.default_device().type == (mx.gpu if chosen == "gpu" else mx.cpu)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_attention_heads": 4},
        {"num_local_experts": 8},
        {"num_experts_per_tok": 5},
        {"sliding_window": 0},
        {"reduced_vocabulary": 32},
        {"reduced_vocabulary": 0},
        {"rope_scaling": {"rope_type": "nonsense", "factor": 2.0}},
        {"quantization_config": {"quant_method": "bitnet"}},
        {"quantization": {"bits": 4}},
    ],
)
def test_a_configuration_that_does_not_fit_the_weights_is_one_line(
    float32_folder: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    (tmp_path / "model.safetensors").symlink_to(float32_folder / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | changes))
    with pytest.raises(ModelError) as caught:
        _load(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path} can not be loaded: ")
    assert "\n" not in str(caught.value)


def test_a_damaged_folder_is_refused_before_it_is_read(float32_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    whole = (float32_folder / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="cut off or damaged"):
        _load(tmp_path)


def test_the_embedded_model_loads() -> None:
    info = load(find_model(Settings(model_path="tiny", device="cpu")), None).info
    assert (info.name, info.quantization) == ("gpt-oss-tiny", "float32")
    assert sum(path.stat().st_size for path in MODEL_FOLDER.iterdir()) < 10_000_000
