"""Which model is served, and why: a setting, or what suits the machine. Downloads nothing and knows nothing of MLX."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from gpt_oss_tiny import MODEL_FOLDER
from llm_server.model_files import ModelError
from llm_server.observability.machine import memory_size
from llm_server.settings import Quantization, Settings

GIB: Final = 2**30
EMBEDDED: Final = "tiny"
EMBEDDED_NAME: Final = "gpt-oss-tiny"

BUILDS: Final[dict[Quantization, str]] = {
    "int4": "mlx-community/gpt-oss-20b-MXFP4-Q4",
    "int8": "mlx-community/gpt-oss-20b-MXFP4-Q8",
    "fp16": "openai/gpt-oss-20b",
    "none": "openai/gpt-oss-20b",
}
"""Builds of gpt-oss-20b. The experts, nine tenths of it, are MXFP4 in all of them, as OpenAI trained them; the builds
differ in the rest: 4 bits (11 GB in all), 8 bits (12 GB), or bfloat16 as published (14 GB)."""

SMALLEST_MEMORY: Final = 16 * GIB
ROOMY_MEMORY: Final = 24 * GIB
"""From here on macOS lets the GPU have enough for the 8-bit build and a long context."""

_REPO: Final = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
_BUILD_NAME: Final = re.compile(
    r"(?P<model>gpt-oss(-safeguard)?-\d+b)"
    r"([-_.](mlx|mxfp4|q\d|\d+-?bits?|int\d+|bf16|fp16|fp32|gs\d+|hi|dq|dwq|optiq|original|native))*",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Machine:
    """What decides which model suits a machine. `system` and `architecture` as `platform` names them."""

    system: str
    architecture: str
    memory_bytes: int

    @property
    def is_apple_silicon(self) -> bool:
        return (self.system, self.architecture) == ("Darwin", "arm64")


@dataclass(frozen=True, slots=True)
class LocalFolder:
    path: Path


@dataclass(frozen=True, slots=True)
class HubRepo:
    """A repository of the Hugging Face Hub. `revision` is a branch, a tag or a commit; None is the default branch."""

    repo_id: str
    revision: str | None = None


ModelSource: TypeAlias = LocalFolder | HubRepo


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """`name` is the one it is served under, `reason` a clause for the log: why this one."""

    source: ModelSource
    name: str
    reason: str


def this_machine() -> Machine:
    return Machine(platform.system(), platform.machine(), memory_size())


def choose_model(settings: Settings, machine: Machine) -> ModelChoice:
    """The model to serve: LLM_MODEL_PATH, else gpt-oss-20b where it runs well, else the embedded one.

    Raises:
        ModelError: LLM_MODEL_PATH is neither a directory nor the id of a repository.
    """
    source, reason = _configured(settings.model_path) if settings.model_path else _default(settings, machine)
    return ModelChoice(source, settings.model_name or model_name(source), reason)


def served_name(settings: Settings) -> str:
    """The name that metrics and traces give to the model. One that can not be chosen is never served either."""
    try:
        return choose_model(settings, this_machine()).name
    except ModelError:
        return settings.model_name or "unknown"


def model_name(source: ModelSource) -> str:
    """The name without what only tells builds apart: `mlx-community/gpt-oss-20b-MXFP4-Q8` is `gpt-oss-20b`."""
    match source:
        case HubRepo(repo_id):
            name = repo_id.rpartition("/")[2]
        case LocalFolder(path) if path.resolve() == MODEL_FOLDER.resolve():
            return EMBEDDED_NAME
        case LocalFolder(path):
            name = _folder_name(path)
    build = _BUILD_NAME.fullmatch(name)
    return build["model"].lower() if build else name


def _configured(value: str) -> tuple[ModelSource, str]:
    reason = f"LLM_MODEL_PATH={value}"
    if value == EMBEDDED:
        return LocalFolder(MODEL_FOLDER), reason
    path = Path(os.path.expanduser(value))  # which leaves an unknown home as it is
    if path.is_dir():
        return LocalFolder(path.resolve()), reason
    if path.exists():
        raise ModelError(f"{reason} is a file; the directory with config.json and safetensors is needed")
    if (repo := _REPO.fullmatch(value)) and not value.startswith("."):
        return HubRepo(repo["id"], repo["revision"]), reason
    raise ModelError(f"{reason} is no directory here, and no Hugging Face repo id (owner/name)")


def _default(settings: Settings, machine: Machine) -> tuple[ModelSource, str]:
    memory = f"{machine.memory_bytes / GIB:.0f} GB"
    if not machine.is_apple_silicon:
        why = f"LLM_MODEL_PATH is unset and this is {machine.system} on {machine.architecture}, not Apple Silicon"
        return LocalFolder(MODEL_FOLDER), why
    if machine.memory_bytes < SMALLEST_MEMORY:
        return LocalFolder(MODEL_FOLDER), f"LLM_MODEL_PATH is unset and {memory} of memory are too few for gpt-oss-20b"
    if settings.quantization:
        return HubRepo(BUILDS[settings.quantization]), f"LLM_QUANTIZATION={settings.quantization} on Apple Silicon"
    build: Quantization = "int8" if machine.memory_bytes >= ROOMY_MEMORY else "int4"
    return HubRepo(BUILDS[build]), f"LLM_MODEL_PATH is unset and this is Apple Silicon with {memory} of memory"


def _folder_name(path: Path) -> str:
    """A folder of the Hub's cache has a commit for a name: `models--owner--NAME/snapshots/COMMIT`."""
    if path.parent.name == "snapshots":
        return path.parent.parent.name.rpartition("--")[2]
    return path.name
