"""A server for other people's clients, and a place for each of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from installed_clients import RUN_SECONDS, Sandbox
from running_server import RunningServer, launched


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with launched(tmp_path_factory.mktemp("server"), LLM_REQUEST_TIMEOUT=str(RUN_SECONDS)) as running:
        running.wait_until_ready()
        yield running


@pytest.fixture
def sandbox(server: RunningServer, tmp_path: Path) -> Iterator[Sandbox]:
    """Removed afterwards: some clients take hundreds of megabytes."""
    made = Sandbox(tmp_path, server.base_url)
    made.home.mkdir()
    yield made
    shutil.rmtree(tmp_path)
