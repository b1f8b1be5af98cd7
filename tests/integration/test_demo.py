"""The load of the demonstration: each kind of request is answered by a real server as it is meant to be."""

from __future__ import annotations

import random
import subprocess
import sys

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
