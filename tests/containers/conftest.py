"""The image, built once for all tests of containers. They are skipped where no Docker engine answers."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from docker_engine import BASE_IMAGE, docker, missing_engine, missing_image

# Its reaper is an image of its own, which would have to be pulled. What these tests start they stop themselves.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")

IMAGE = "llm-server:test"


@pytest.fixture(scope="session")
def engine() -> None:
    if reason := missing_engine():
        pytest.skip(reason)


@pytest.fixture(scope="session")
def image(engine: None) -> Iterator[str]:  # noqa: ARG001
    """The tag of the image of this checkout."""
    if reason := missing_image(BASE_IMAGE):
        pytest.skip(reason)
    built = docker("build", "--tag", IMAGE, ".", seconds=1200)
    assert built.returncode == 0, built.stderr[-3000:]
    yield IMAGE
    docker("image", "rm", IMAGE)
