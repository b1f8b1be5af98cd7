"""The load of the demonstration: each kind of request is answered by a real server as it is meant to be."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from docker_engine import free_port
from llm_server.demo import SCENES, Scene, Tally, play
from running_server import RunningServer

OUTCOMES = {"faulty request": "400", "client that leaves": "left early"}


@pytest.mark.parametrize("scene", SCENES, ids=[scene.name for scene in SCENES])
async def test_each_scene(server: RunningServer, scene: Scene) -> None:
    async with httpx2.AsyncClient(base_url=server.base_url, timeout=120) as client:
        assert await play(client, scene, random.Random(1)) == OUTCOMES.get(scene.name, "200")


@pytest.mark.parametrize("scene", SCENES, ids=[scene.name for scene in SCENES])
def test_the_same_seed_draws_the_same_requests(scene: Scene) -> None:
    assert scene.body(random.Random(7)) == scene.body(random.Random(7))


async def test_what_nobody_answers_is_told_by_its_fault() -> None:
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{free_port()}") as client:
        assert await play(client, SCENES[0], random.Random(1)) == "ConnectError"


def test_where_nobody_answers_it_says_so() -> None:
    command = [sys.executable, "-m", "llm_server.demo", "--url", f"http://127.0.0.1:{free_port()}"]
    done = subprocess.run([*command, "--seconds", "2"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert re.match(r"\d+ requests: (none yet|\d+ x ConnectError)$", done.stdout.splitlines()[-1])


def test_what_is_reported() -> None:
    tally = Tally()
    assert tally.line() == "0 requests: none yet"
    tally.outcomes.update(["200", "left early", "200"])
    assert tally.line() == "3 requests: 2 x 200, 1 x left early"


def demo(server: RunningServer, folder: Path, docker: str = "exit 1", **variables: str) -> tuple[str, list[str]]:
    """What `make demo` prints with this script as Docker, and what it called Docker with."""
    program, calls = folder / "docker", folder / "calls"
    program.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n{docker}\n')
    program.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{folder}:{os.environ['PATH']}",
        "LLM_PORT": str(server.port),
        "DEMO_BIN": str(Path(sys.executable).parent),
        "DEMO_SECONDS": "4",
        **variables,
    }
    script = Path(__file__).parents[2] / "deploy" / "demo.sh"
    done = subprocess.run([script], env=environment, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout, calls.read_text().splitlines() if calls.exists() else []


@pytest.mark.parametrize(("docker", "variables"), [("exit 0", {"DEMO_DOCKER": "no"}), ("exit 1", {})])
def test_the_script_uses_a_server_that_runs_already(
    server: RunningServer, tmp_path: Path, docker: str, variables: dict[str, str]
) -> None:
    """`make demo` without Docker: a load for a while, and where to look."""
    said, _ = demo(server, tmp_path, docker, **variables)
    assert f"A server answers at {server.base_url} already" in said
    assert f"Metrics: {server.base_url}/metrics" in said
    assert "4 clients at" in said
    assert server.answers("/readyz")


def test_a_stack_that_can_not_be_started_costs_the_dashboards_alone(server: RunningServer, tmp_path: Path) -> None:
    said, _ = demo(server, tmp_path, 'case "$*" in *" up "*) exit 18;; esac')
    assert "could not be started" in said
    assert "Dashboards:" not in said
    assert "4 clients at" in said


@pytest.mark.skipif(sys.platform == "darwin", reason="on a Mac the server and the load are no containers")
def test_what_is_left_of_the_stack_are_the_dashboards(server: RunningServer, tmp_path: Path) -> None:
    said, calls = demo(server, tmp_path, 'case "$*" in *" logs "*) exec sleep 60;; esac', DEMO_SECONDS="1")
    assert "Dashboards: http://127.0.0.1:3000" in said
    assert calls[-1] == "compose --profile cpu stop load llm-server-cpu"
