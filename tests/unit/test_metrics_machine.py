"""What the system says of processes and of itself, and how an engine's end is named."""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path

import pytest
from starlette.routing import Route

from llm_server.observability import machine
from llm_server.observability.routes import Routes
from llm_server.running_engine import end_reason

NO_SUCH_PROCESS = 2**22 + 1


def test_a_process_has_a_footprint() -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    footprint = machine.physical_footprint(os.getpid())
    assert footprint is not None
    assert 2**20 < footprint < 4 * peak


def test_a_process_that_is_gone_has_none() -> None:
    assert machine.physical_footprint(NO_SUCH_PROCESS) is None


@pytest.mark.skipif(sys.platform == "darwin", reason="control groups are Linux's")
@pytest.mark.parametrize(("limit", "size"), [(None, None), ("max\n", None), ("1048576\n", 2**20), ("", None)])
def test_memory_is_what_a_container_may_use_of_it_or_the_machines(
    limit: str | None, size: int | None, tmp_path: Path
) -> None:
    file = tmp_path / "memory.max"
    if limit is not None:
        file.write_text(limit)
    everything = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert machine.memory_size([file, tmp_path / "none"]) == (size or everything)


def test_memory_needs_no_container() -> None:
    assert machine.memory_size([]) > 2**28


def test_a_machine_that_is_awake_has_not_woken() -> None:
    wakes = machine.Wakes()
    assert (wakes.new(), wakes.new()) == (0, 0)


@pytest.mark.skipif(sys.platform != "darwin", reason="only macOS says so")
def test_a_mac_says_how_it_is() -> None:
    assert machine.memory_pressure() in (1, 2, 4)
    assert machine.thermal_pressure() in range(5)


@pytest.mark.parametrize(
    ("code", "reason"),
    [(-signal.SIGABRT, "abort"), (-signal.SIGKILL, "killed"), (-signal.SIGSEGV, "crash"), (1, "crash"), (0, "crash")],
)
def test_an_end_is_named_by_what_it_probably_was(code: int, reason: str) -> None:
    assert end_reason(code) == reason


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/v1/responses", "/v1/responses"),
        ("/v1/responses/resp_1", "/v1/responses/{identity}"),
        ("/v1/responses/resp_1/cancel", "/v1/responses/{identity}/cancel"),
        ("/v1/models/a/b", "/v1/models/{name:path}"),
        ("/v1/nothing", "unmatched"),
        ("/v1/responses/", "unmatched"),
        ("", "unmatched"),
        ("/\n", "unmatched"),
    ],
)
def test_a_path_is_known_by_its_template(path: str, template: str) -> None:
    templates = (
        "/v1/responses",
        "/v1/responses/{identity}",
        "/v1/responses/{identity}/cancel",
        "/v1/models/{name:path}",
    )
    assert Routes([Route(each, lambda _: None, methods=["GET"]) for each in templates]).template(path) == template
