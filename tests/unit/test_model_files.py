"""Every way in which a model folder can be wrong is found before its weights are read, and is one clear line."""

from __future__ import annotations

import json
import logging
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llm_server.conversation import GenerationDefaults
from llm_server.model_files import DamagedModel, ModelError, read_model_files
from model_folders import CONFIG, one_file, safetensors, two_shards, write

SHARD = "model-00002-of-00002.safetensors"


def _fault(folder: Path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        read_model_files(folder)
    assert "\n" not in str(caught.value)
    return caught.value


def _with_config(**changes: Any) -> dict[str, bytes]:
    return one_file() | {"config.json": json.dumps(CONFIG | changes).encode()}


@pytest.mark.parametrize("build", [one_file, two_shards])
def test_a_whole_model_is_accepted(tmp_path: Path, build: Callable[[], dict[str, bytes]]) -> None:
    files = read_model_files(write(tmp_path, build()))
    assert files.config["model_type"] == "gpt_oss"
    assert files.size == sum(len(content) for name, content in build().items() if name.endswith(".safetensors"))


@pytest.mark.parametrize(
    ("changes", "length"),
    [
        ({}, 4096),
        (
            {
                "max_position_embeddings": None,
                "rope_scaling": {"original_max_position_embeddings": 4096, "factor": 32.0},
            },
            131_072,
        ),
        ({"max_position_embeddings": None}, 131_072),
    ],
)
def test_context_length_is_the_configured_one(tmp_path: Path, changes: dict[str, Any], length: int) -> None:
    assert read_model_files(write(tmp_path, _with_config(**changes))).context_length == length


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "llama"}, "type 'llama'"),
        ({"model_file": "model.py"}, "code that comes with a model is never run"),
        ({"vocab_size": 50_257}, "vocab_size is 50257"),
        ({"hidden_size": "4"}, "hidden_size is '4'"),
        ({"hidden_size": 8}, "hidden_size 8 is not that of the weights"),
        ({"num_hidden_layers": 10**9}, "declares 1000000000 layers, the weights have 2"),
        ({"layer_types": ["full_attention"]}, "1 layer_types for 2 layers"),
    ],
)
def test_a_configuration_of_something_else_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    assert words in str(_fault(write(tmp_path, _with_config(**changes))))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b'"text"'])
def test_a_configuration_that_is_no_json_object_is_damage(tmp_path: Path, content: bytes) -> None:
    fault = _fault(write(tmp_path, one_file() | {"config.json": content}))
    assert isinstance(fault, DamagedModel)
    assert fault.files == ("config.json",)


@pytest.mark.parametrize("missing", list(two_shards()))
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    files = two_shards()
    del files[missing]
    if missing == "model.safetensors.index.json":
        read_model_files(write(tmp_path, files))
        return
    fault = _fault(write(tmp_path, files))
    assert missing in str(fault)
    assert isinstance(fault, DamagedModel)
    assert fault.files == (missing,)


def test_a_folder_that_is_not_there_is_no_model_folder(tmp_path: Path) -> None:
    assert "no config.json" in str(_fault(tmp_path / "nowhere"))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "gpt-oss-20b.gguf", "weights.npz"])
def test_other_kinds_of_weights_are_refused_by_name(tmp_path: Path, name: str) -> None:
    files = one_file()
    files[name] = files.pop("model.safetensors")
    assert f"{name}; only safetensors" in str(_fault(write(tmp_path, files)))


def test_a_folder_without_weights_says_so(tmp_path: Path) -> None:
    assert "has no weights" in str(_fault(write(tmp_path, {"config.json": one_file()["config.json"]})))


def test_an_index_can_not_name_files_elsewhere(tmp_path: Path) -> None:
    index = json.dumps({"weight_map": {"model.norm.weight": "../model.safetensors"}}).encode()
    write(tmp_path, one_file())
    assert "missing" in str(_fault(write(tmp_path / "below", one_file() | {"model.safetensors.index.json": index})))


def test_a_shard_of_another_model_is_found(tmp_path: Path) -> None:
    fault = _fault(write(tmp_path, two_shards() | {SHARD: safetensors({"lm_head.weight": [2, 2]})}))
    assert SHARD in str(fault)
    assert "of another model" in str(fault)


def test_two_builds_in_one_folder_are_refused(tmp_path: Path) -> None:
    assert "mixes two builds" in str(_fault(write(tmp_path, two_shards() | one_file())))


OVERLAPPING = {name: {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} for name in ("a", "b")}


def _header_changed(**changes: Any) -> bytes:
    header = {"model.norm.weight": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} | changes}
    return _file(header)


def _file(header: dict[str, Any]) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(16)


WHOLE = one_file()["model.safetensors"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        WHOLE[:4],
        WHOLE[:40],
        WHOLE[:-1],
        WHOLE[: len(WHOLE) - 20],
        WHOLE + b"x",
        struct.pack("<Q", 1 << 62) + WHOLE[8:],
        WHOLE[:8] + b"{" * (len(WHOLE) - 8),
        struct.pack("<Q", 4) + b"[[]]",
        struct.pack("<Q", 4) + b"null",
        struct.pack("<Q", 8) + b'{"a": 1}',
        _header_changed(dtype="F99"),
        _header_changed(shape=[5]),
        _header_changed(shape="4"),
        _header_changed(data_offsets=[0, 10**15]),
        _header_changed(data_offsets=[8, 16]),
        _header_changed(data_offsets=None),
        _file(OVERLAPPING),
        bytes(4096),
    ],
)
def test_a_cut_off_or_altered_weight_file_is_named(tmp_path: Path, content: bytes) -> None:
    fault = _fault(write(tmp_path, one_file() | {"model.safetensors": content}))
    assert isinstance(fault, DamagedModel)
    assert fault.files == ("model.safetensors",)
    assert "download or copy it again" in str(fault)


def test_a_git_lfs_pointer_says_what_to_run(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4792272488\n"
    assert "git lfs pull" in str(_fault(write(tmp_path, one_file() | {"model.safetensors": pointer})))


def test_a_file_that_can_not_be_read_says_why(tmp_path: Path) -> None:
    write(tmp_path, one_file())
    (tmp_path / "model-2.safetensors").symlink_to(tmp_path / "gone")
    assert "model-2.safetensors can not be read: No such file" in str(_fault(tmp_path))


def _recommended(folder: Path, content: bytes) -> GenerationDefaults:
    return read_model_files(write(folder, one_file() | {"generation_config.json": content})).defaults


def test_what_its_maker_recommends_is_read(tmp_path: Path) -> None:
    everything = {
        "temperature": 0.6, "top_p": 0.9, "top_k": 40, "min_p": 0.05, "repetition_penalty": 1.1, "max_new_tokens": 2048,
        "do_sample": True, "eos_token_id": [200002, 199999, 200012], "bos_token_id": None,
    }  # fmt: skip
    assert _recommended(tmp_path, json.dumps(everything).encode()) == GenerationDefaults(0.6, 0.9, 40, 0.05, 1.1, 2048)
    assert read_model_files(write(tmp_path / "other", one_file())).defaults == GenerationDefaults()


def test_a_model_that_is_not_to_be_sampled_from_says_what_is_likeliest(tmp_path: Path) -> None:
    assert _recommended(tmp_path, b'{"do_sample": false, "temperature": 0.6}') == GenerationDefaults(temperature=0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -1), ("temperature", "hot"), ("temperature", True), ("top_p", 0), ("top_p", 1.5),
        ("top_k", -5), ("top_k", 2.5), ("min_p", 2), ("repetition_penalty", 0), ("max_new_tokens", 0),
        ("max_new_tokens", [1]), ("max_new_tokens", 10**30), ("top_k", 10**30),
    ],
)  # fmt: skip
def test_a_recommendation_that_makes_no_sense_is_ignored_and_named(
    tmp_path: Path, name: str, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        defaults = _recommended(tmp_path, json.dumps({name: value, "do_sample": True}).encode())
    assert defaults == GenerationDefaults()
    [record] = caplog.records
    assert name in record.getMessage()


@pytest.mark.parametrize("content", [b"{", b"[]", b""])
def test_recommendations_that_are_no_object_are_damaged(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DamagedModel, match="generation_config"):
        _recommended(tmp_path, content)
