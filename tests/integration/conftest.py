"""Real servers: `llm-server serve` on a free port, with the embedded model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from running_server import SERVE, RunningServer, StartServer, launched


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for all tests that leave it as they found it."""
    with launched(tmp_path_factory.mktemp("server")) as running:
        running.wait_until_ready()
        yield running
        running.process.terminate()
        assert running.wait() == 0, running.end_of_log


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Starts a server of the test's own, which the test may mistreat."""
    with ExitStack() as running:

        def start(*, command: tuple[str, ...] = SERVE, **variables: str) -> RunningServer:
            return running.enter_context(launched(tmp_path, command, **variables))

        yield start
