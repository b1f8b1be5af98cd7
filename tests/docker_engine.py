"""The Docker engine of this machine, through its command line: what is there, and what can be had."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

REPOSITORY: Final = Path(__file__).parents[1]
BASE_IMAGE: Final = "python:3.12-slim-bookworm"
"""What the Dockerfile names."""


def docker(*arguments: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a command of the client; its exit code is the caller's to judge."""
    command = ["docker", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=seconds, check=False)


@lru_cache(maxsize=1)
def missing_engine() -> str:
    """Why nothing can be run in containers here; empty if it can."""
    if shutil.which("docker") is None:
        return "Docker is not installed"
    if docker("info").returncode != 0:
        return "no Docker engine answers"
    return ""


def missing_compose() -> str:
    """Why compose files can not even be read here; empty if they can."""
    if shutil.which("docker") is None:
        return "Docker is not installed"
    return "" if docker("compose", "version").returncode == 0 else "docker compose is not installed"


def missing_image(image: str) -> str:
    """Why there is no such image; empty if there is, perhaps only now."""
    if (
        docker("image", "inspect", image).returncode == 0
        or docker("pull", "--quiet", image, seconds=300).returncode == 0
    ):
        return ""
    return f"the image {image} is not here and can not be pulled"


def inspected(image: str) -> dict[str, Any]:
    (about,) = json.loads(docker("image", "inspect", image).stdout)
    return dict(about)


def can_listen(host: str, port: int) -> bool:
    try:
        with socket.create_server((host, port)):
            return True
    except OSError:
        return False


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
