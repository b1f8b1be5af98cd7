"""The model that the settings ask for, found before it is loaded: chosen, on which device, downloaded, checked.

Whatever is wrong with it is said before MLX's models are imported, which takes seconds. Of MLX only the core is.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import mlx.core as mx

from llm_server.model_download import fetch_model
from llm_server.model_files import ModelError, ModelFiles, read_model_files
from llm_server.model_source import HubRepo, LocalFolder, ModelSource, choose_model, this_machine
from llm_server.settings import Device, Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A whole gpt-oss, and the name under which it is to be served."""

    name: str
    files: ModelFiles
    context_length: int
    device: Literal["gpu", "cpu"]


def find_model(settings: Settings) -> FoundModel:
    """The model that the settings name, or the one that suits this machine; a download may take its time.

    Raises:
        ModelError: there is no such model, it is damaged or no gpt-oss, or the device is not there.
    """
    choice = choose_model(settings, this_machine())
    logger.info("Serving %s from %s: %s", choice.name, _place(choice.source), choice.reason)
    device = use_device(settings.device)
    files = read_model_files(_folder(choice.source))
    return FoundModel(choice.name, files, _context_length(settings, files), device)


def use_device(device: Device) -> Literal["gpu", "cpu"]:
    """Make MLX compute on a device from here on, in every thread.

    Raises:
        ModelError: this machine, or this build of MLX, has no such device.
    """
    has_gpu = mx.is_available(mx.gpu)
    if device == "mps" and not mx.metal.is_available():
        raise ModelError("LLM_DEVICE=mps needs the GPU of a Mac, which MLX does not find here: set auto, gpu or cpu")
    if device == "gpu" and not has_gpu:
        raise ModelError("LLM_DEVICE=gpu needs a GPU, and this build of MLX finds none here: set auto or cpu")
    chosen: Literal["gpu", "cpu"] = "gpu" if has_gpu and device != "cpu" else "cpu"
    mx.set_default_device(mx.gpu if chosen == "gpu" else mx.cpu)
    return chosen


def _place(source: ModelSource) -> str:
    match source:
        case LocalFolder(path):
            return str(path)
        case HubRepo(repo_id, None):
            return repo_id
        case HubRepo(repo_id, revision):
            return f"{repo_id}@{revision}"


def _folder(source: ModelSource) -> Path:
    match source:
        case LocalFolder(path):
            return path
        case HubRepo():
            return fetch_model(source)


def _context_length(settings: Settings, files: ModelFiles) -> int:
    wanted, longest = settings.context_length, files.context_length
    if wanted is not None and wanted > longest:
        raise ModelError(f"LLM_CONTEXT_LENGTH={wanted} is more than the {longest} tokens that the model was made for")
    return wanted or longest
