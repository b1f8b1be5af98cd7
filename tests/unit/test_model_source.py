"""Which model is chosen on which machine, and the name it gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpt_oss_tiny import MODEL_FOLDER
from llm_server.model_files import ModelError
from llm_server.model_source import GIB, HubRepo, LocalFolder, Machine, choose_model, model_name, this_machine
from llm_server.settings import Quantization, Settings

LINUX = Machine("Linux", "x86_64", 512 * GIB)
INTEL_MAC = Machine("Darwin", "x86_64", 64 * GIB)
SMALL_MAC = Machine("Darwin", "arm64", 8 * GIB)
MAC_16 = Machine("Darwin", "arm64", 16 * GIB)
MAC_64 = Machine("Darwin", "arm64", 64 * GIB)


@pytest.mark.parametrize("machine", [LINUX, INTEL_MAC, SMALL_MAC, Machine("Linux", "arm64", 64 * GIB)])
@pytest.mark.parametrize("quantization", [None, "int4"])
def test_the_embedded_model_is_for_machines_without_apple_silicon_or_memory(
    machine: Machine, quantization: Quantization | None
) -> None:
    choice = choose_model(Settings(quantization=quantization), machine)
    assert (choice.source, choice.name) == (LocalFolder(MODEL_FOLDER), "gpt-oss-tiny")


@pytest.mark.parametrize(("machine", "build"), [(MAC_16, "MXFP4-Q4"), (MAC_64, "MXFP4-Q8")])
def test_apple_silicon_gets_the_build_that_its_memory_holds(machine: Machine, build: str) -> None:
    choice = choose_model(Settings(), machine)
    assert choice.source == HubRepo(f"mlx-community/gpt-oss-20b-{build}")
    assert choice.name == "gpt-oss-20b"


@pytest.mark.parametrize(
    ("quantization", "repo"),
    [
        ("int4", "mlx-community/gpt-oss-20b-MXFP4-Q4"),
        ("int8", "mlx-community/gpt-oss-20b-MXFP4-Q8"),
        ("fp16", "openai/gpt-oss-20b"),
        ("none", "openai/gpt-oss-20b"),
    ],
)
def test_quantization_chooses_the_build(quantization: Quantization, repo: str) -> None:
    choice = choose_model(Settings(quantization=quantization), MAC_16)
    assert choice.source == HubRepo(repo)
    assert f"LLM_QUANTIZATION={quantization}" in choice.reason


@pytest.mark.parametrize(
    ("machine", "words"), [(LINUX, "Linux on x86_64"), (SMALL_MAC, "8 GB"), (MAC_64, "Apple Silicon with 64 GB")]
)
def test_the_reason_tells_the_deciding_facts(machine: Machine, words: str) -> None:
    assert words in choose_model(Settings(), machine).reason


def test_tiny_forces_the_embedded_model() -> None:
    assert choose_model(Settings(model_path="tiny"), MAC_64).source == LocalFolder(MODEL_FOLDER)


def test_a_directory_is_taken_before_a_repository_of_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(model_path="openai/gpt-oss-20b")
    assert choose_model(settings, LINUX).source == HubRepo("openai/gpt-oss-20b")
    (tmp_path / "openai/gpt-oss-20b").mkdir(parents=True)
    assert choose_model(settings, LINUX).source == LocalFolder(tmp_path / "openai/gpt-oss-20b")


@pytest.mark.parametrize("revision", ["v1.2", "refs/pr/1", "773a7da77e569019bb0fd17a554b263738d669a3"])
def test_a_revision_can_be_pinned(revision: str) -> None:
    choice = choose_model(Settings(model_path=f"openai/gpt-oss-20b@{revision}"), LINUX)
    assert choice.source == HubRepo("openai/gpt-oss-20b", revision)
    assert choice.name == "gpt-oss-20b"


@pytest.mark.parametrize(
    "path", ["/nowhere/at/all", "./here/not", "~nobody-has-it/model", "../model", "gpt-oss-20b", "a/b/c", "owner/name@"]
)
def test_what_is_neither_a_directory_nor_a_repository_is_refused(path: str) -> None:
    with pytest.raises(ModelError, match="no directory here, and no Hugging Face repo id") as caught:
        choose_model(Settings(model_path=path), LINUX)
    assert path in str(caught.value)


def test_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "gpt-oss-20b.gguf"
    file.touch()
    with pytest.raises(ModelError, match="is a file"):
        choose_model(Settings(model_path=str(file)), LINUX)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("gpt-oss-20b-MXFP4-Q8", "gpt-oss-20b"),
        ("gpt-oss-20b-MLX-4bit-gs32", "gpt-oss-20b"),
        ("GPT-OSS-120B_bf16", "gpt-oss-120b"),
        ("gpt-oss-safeguard-20b", "gpt-oss-safeguard-20b"),
        ("gpt-oss-20b-medical", "gpt-oss-20b-medical"),
        ("my-gpt-oss-20b", "my-gpt-oss-20b"),
        ("models--openai--gpt-oss-20b/snapshots/0123456789abcdef", "gpt-oss-20b"),
    ],
)
def test_a_name_loses_what_only_tells_builds_apart(folder: str, name: str) -> None:
    assert model_name(LocalFolder(Path("/models") / folder)) == name


def test_a_configured_name_wins() -> None:
    assert choose_model(Settings(model_name="mine"), MAC_64).name == "mine"


def test_this_machine_has_memory() -> None:
    assert this_machine().memory_bytes > GIB
