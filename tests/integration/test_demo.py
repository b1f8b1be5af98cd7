"""The load of the demonstration: each kind of request is answered by a real server as it is meant to be."""

from __future__ import annotations

import os
import random
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


def test_where_nobody_answers_it_says_so() -> None:
    command = [sys.executable, "-m", "llm_server.demo", "--url", f"http://127.0.0.1:{free_port()}"]
    done = subprocess.run([*command, "--seconds", "2"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "x ConnectError" in done.stdout.splitlines()[-1]


def test_what_is_reported() -> None:
    tally = Tally()
    assert tally.line() == "0 requests: none yet"
    tally.outcomes.update(["200", "left early", "200"])
    assert tally.line() == "3 requests: 2 x 200, 1 x left early"


def test_the_script_uses_a_server_that_runs_already(server: RunningServer) -> None:
    """`make demo` without Docker: a load for a while, and where to look."""
    variables = {"DEMO_DOCKER": "no", "DEMO_SECONDS": "4", "DEMO_BIN": str(Path(sys.executable).parent)}
    environment = {**os.environ, **variables, "LLM_PORT": str(server.port)}
    script = Path(__file__).parents[2] / "deploy" / "demo.sh"
    done = subprocess.run([script], env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert f"A server answers at {server.base_url} already" in done.stdout
    assert f"Metrics: {server.base_url}/metrics" in done.stdout
    assert "4 clients at" in done.stdout
    assert server.answers("/readyz")
