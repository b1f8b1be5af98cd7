"""The limit of open files is raised in real processes that were given a low one."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from llm_server.open_files import ENOUGH

PROGRAM = """
import logging, resource
from llm_server.open_files import allow_connections
logging.basicConfig(format="%(message)s")
allow_connections(300)
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def limits(shell: str) -> tuple[int, str]:
    """The soft limit after `allow_connections` under the shell's limits, and what was logged."""
    command = ["sh", "-c", f'{shell} && exec "$@"', "sh", sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout), done.stderr


@pytest.mark.parametrize("hard", [1000, 2000])
def test_it_is_raised_as_far_as_it_may_be(hard: int) -> None:
    assert limits(f"ulimit -Sn 256 && ulimit -Hn {hard}") == (hard, "")


def test_it_is_raised_no_further_than_any_process_needs() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    assert limits("ulimit -Sn 256") == (most, "")


def test_a_limit_that_is_too_low_is_told() -> None:
    limit, log = limits("ulimit -Sn 200 && ulimit -Hn 200")
    assert limit == 200
    assert "Only 200 files may be open" in log
