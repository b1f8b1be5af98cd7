"""The CPU image: what is in it, how little it may do, and that both SDKs are answered from a read-only container."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

import anthropic
import httpx2
import openai
import pytest
from testcontainers.core.container import DockerContainer

from docker_engine import BASE_IMAGE, REPOSITORY, docker, inspected
from processes import wait_until

KEY = "a-key-for-tests"
PORT = 42002
START_SECONDS = 120
OWN_LAYERS = 240_000_000
"""Bytes. Python's published image has 125 MB, so the whole stays well below 450 MB."""

COUNT = [{"role": "user", "content": "Count to 5"}]
COUNTED = "1, 2, 3, 4, 5"


@dataclass(frozen=True)
class RunningContainer:
    name: str
    base_url: str

    def run(self, *command: str) -> str:
        """What the command prints in the container. It must succeed."""
        done = docker("exec", self.name, *command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def answers(self, path: str) -> bool:
        try:
            return httpx2.get(self.base_url + path, timeout=10).status_code == 200
        except httpx2.HTTPError:
            return False

    @property
    def log(self) -> str:
        done = docker("logs", self.name)
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def server(image: str) -> Iterator[RunningContainer]:
    """`docker run -e LLM_API_KEY=… --read-only --tmpfs /tmp`, stopped in the end as `docker stop` does."""
    container = DockerContainer(image).with_env("LLM_API_KEY", KEY).with_exposed_ports(PORT)
    with container.with_tmpfs_mount("/tmp").with_kwargs(read_only=True) as running:
        wrapped = running.get_wrapped_container()
        url = f"http://{running.get_container_host_ip()}:{running.get_exposed_port(PORT)}"
        found = RunningContainer(str(wrapped.name), url)
        wait_until(lambda: found.answers("/readyz"), seconds=START_SECONDS)
        yield found
        wrapped.stop(timeout=60)
        assert wrapped.wait()["StatusCode"] == 0, found.log[-3000:]


def test_it_holds_this_checkout_and_no_earlier_one(image: str) -> None:
    """Builders keep what they have built from a folder of the same name."""
    listing = "find . -name '*.py' -exec sha256sum {} + | sort"
    find = f"cd /opt/llm-server/lib/python3.*/site-packages/llm_server && {listing}"
    there = docker("run", "--rm", "--entrypoint", "sh", image, "-c", find).stdout
    package = REPOSITORY / "service" / "llm_server"
    here = sorted(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  ./{path.relative_to(package)}"
        for path in package.rglob("*.py")
    )
    assert there.splitlines() == here


def test_it_is_small(image: str) -> None:
    assert inspected(image)["Size"] - inspected(BASE_IMAGE)["Size"] < OWN_LAYERS


def test_what_it_promises_to_those_who_run_it(image: str) -> None:
    config = inspected(image)["Config"]
    assert config["User"] == "10001:10001"
    assert config["StopSignal"] == "SIGTERM"
    assert config["ExposedPorts"] == {f"{PORT}/tcp": {}}
    assert list(config["Volumes"]) == ["/state"]
    assert config["Healthcheck"]["Test"][0] == "CMD"


def test_without_a_key_it_does_not_start(image: str) -> None:
    ran = docker("run", "--rm", image, seconds=120)
    assert ran.returncode == 2
    (line,) = ran.stderr.splitlines()
    assert "LLM_API_KEY" in line


def test_it_knows_how_much_memory_it_may_use(image: str) -> None:
    ran = docker("run", "--rm", "--memory", "1g", "--env", f"LLM_API_KEY={KEY}", image, "doctor", "--json", seconds=120)
    memory = next(finding for finding in json.loads(ran.stdout) if finding["check"] == "memory")
    assert memory["verdict"] == "ok"
    assert memory["found"].startswith("1.0 GB, ")


def test_it_runs_as_nobody_in_particular_with_no_tools(server: RunningContainer) -> None:
    assert server.run("id", "-u") == "10001\n"
    tools = "for tool in cc gcc g++ make git uv curl; do ! command -v $tool || exit 1; done"
    assert server.run("sh", "-c", tools) == ""


def test_it_can_write_to_its_state_alone(server: RunningContainer) -> None:
    places = "/ /opt/llm-server /usr /tmp /state"
    writable = server.run("sh", "-c", f"for place in {places}; do ! touch $place/x 2>/dev/null || echo $place; done")
    assert writable.split() == ["/tmp", "/state"]


def test_docker_sees_that_it_is_healthy(server: RunningContainer) -> None:
    def health() -> str:
        return docker("inspect", "--format", "{{.State.Health.Status}}", server.name).stdout.strip()

    wait_until(lambda: health() == "healthy", seconds=60)


def test_the_openai_sdk(server: RunningContainer) -> None:
    with openai.OpenAI(base_url=f"{server.base_url}/v1", api_key=KEY, max_retries=0) as client:
        whole = client.chat.completions.create(model="gpt-oss-20b", messages=COUNT, temperature=0)  # type: ignore[arg-type]
        with client.chat.completions.stream(model="gpt-oss-20b", messages=COUNT, temperature=0) as stream:  # type: ignore[arg-type]
            streamed = stream.get_final_completion()
    assert COUNTED in str(whole.choices[0].message.content)
    assert streamed.choices[0].message.content == whole.choices[0].message.content


def test_the_anthropic_sdk(server: RunningContainer) -> None:
    with (
        anthropic.Anthropic(base_url=server.base_url, api_key=KEY, max_retries=0) as client,
        client.messages.stream(model="claude-opus-5-5", max_tokens=200, messages=COUNT) as stream,  # type: ignore[arg-type]
    ):
        assert COUNTED in stream.get_final_text()


def test_nobody_is_answered_without_the_key(server: RunningContainer) -> None:
    assert httpx2.get(f"{server.base_url}/v1/models", timeout=10).status_code == 401
    assert httpx2.get(f"{server.base_url}/metrics", timeout=10).status_code == 401
