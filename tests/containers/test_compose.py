"""The compose file: read with `docker compose config`, and run as far as images can be had."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from testcontainers.compose import DockerCompose

from board_queries import unanswered
from docker_engine import REPOSITORY, can_listen, docker, free_port, missing_compose, missing_image
from processes import wait_until
from running_server import launched

OVERRIDE = """
services:
  llm-server-cpu:
    environment: {LLM_CANARY_INTERVAL: "2"}
  load:
    command: [--url, "http://llm-server-cpu:42002", --streams, "2", --pause, "3"]
"""
"""With pauses, in which the canary runs, so that its graphs have data, too."""


@pytest.fixture(scope="module")
def configuration() -> dict[str, Any]:
    if reason := missing_compose():
        pytest.skip(reason)
    done = docker("compose", "--profile", "cpu", "config", "--format", "json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def mounts(configuration: dict[str, Any], kind: str) -> list[str]:
    volumes = [volume for service in configuration["services"].values() for volume in service.get("volumes", [])]
    return [volume["source"] for volume in volumes if volume["type"] == kind]


def test_what_is_started_by_default_and_what_by_the_profile(configuration: dict[str, Any]) -> None:
    profiles = {name: service.get("profiles", []) for name, service in configuration["services"].items()}
    assert profiles == {"prometheus": [], "grafana": [], "tempo": [], "llm-server-cpu": ["cpu"], "load": ["cpu"]}


def test_nothing_listens_beyond_loopback(configuration: dict[str, Any]) -> None:
    ports = [port for service in configuration["services"].values() for port in service.get("ports", [])]
    assert len(ports) == 6
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}


def test_no_service_may_do_more_than_it_must(configuration: dict[str, Any]) -> None:
    for name, service in configuration["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.get("privileged"), name
        built = "llm-server" in service["image"]
        assert service.get("read_only") if built else not service["user"].startswith("0"), name


def test_versions_are_pinned_and_states_are_kept(configuration: dict[str, Any]) -> None:
    for name in ("prometheus", "grafana", "tempo"):
        default = re.search(rf"\$\{{{name.upper()}_IMAGE:-(.+)}}", (REPOSITORY / "docker-compose.yml").read_text())
        assert default, name
        assert re.fullmatch(r"[\w/-]+:v?\d+\.\d+\.\d+", default[1]), name
    assert set(mounts(configuration, "volume")) == set(configuration["volumes"])


def test_each_service_says_whether_it_is_well(configuration: dict[str, Any]) -> None:
    """The server's image has its own check."""
    checked = {name for name, service in configuration["services"].items() if service.get("healthcheck")}
    assert checked == {"prometheus", "grafana", "tempo", "load"}


def test_grafana_lets_everybody_on_this_machine_look_and_nobody_change(configuration: dict[str, Any]) -> None:
    environment = configuration["services"]["grafana"]["environment"]
    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == "true"
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert environment["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"


def test_every_file_that_is_mounted_is_there(configuration: dict[str, Any]) -> None:
    mounted = mounts(configuration, "bind")
    assert len(mounted) == 5
    assert all(Path(path).exists() for path in mounted)


@pytest.fixture(scope="module")
def prometheus(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the Prometheus of a stack with the CPU image and its load, all in containers."""
    prometheus_image = docker("compose", "config", "--images", "prometheus").stdout.strip()
    if reason := missing_image(prometheus_image):
        pytest.skip(reason)
    override = tmp_path_factory.mktemp("compose") / "override.yml"
    override.write_text(OVERRIDE)
    port = free_port()
    variables = {
        "COMPOSE_PROJECT_NAME": f"llm-server-test-{os.getpid()}",
        "LLM_SERVER_IMAGE": image,
        "PROMETHEUS_IMAGE": prometheus_image,
        "PROMETHEUS_PORT": str(port),
        "LLM_CPU_PORT": str(free_port()),
    }
    environment = override.with_name("environment")
    environment.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    stack = DockerCompose(
        context=REPOSITORY,
        compose_file_name=[str(REPOSITORY / "docker-compose.yml"), str(override)],
        env_file=str(environment),
        services=["prometheus", "llm-server-cpu", "load"],
        profiles=["cpu"],
        keep_volumes=False,
    )
    with ExitStack() as ending:
        ending.callback(stack.stop, down=True)
        stack.start()
        yield f"http://127.0.0.1:{port}"


def health(prometheus: str) -> dict[str, str]:
    """Of each server that Prometheus scrapes: `up`, `down` or `unknown`."""
    try:
        answer = httpx2.get(f"{prometheus}/api/v1/targets", timeout=10).json()
    except httpx2.HTTPError:
        return {}
    targets = [target for target in answer["data"]["activeTargets"] if target["scrapePool"] == "llm-server"]
    return {target["labels"]["instance"]: target["health"] for target in targets}


def test_every_panel_of_every_board_has_data(prometheus: str) -> None:
    wait_until(lambda: health(prometheus).get("cpu") == "up", seconds=120)
    assert unanswered(prometheus, seconds=180) == []


def test_prometheus_in_a_container_scrapes_a_server_on_the_machine(prometheus: str, tmp_path: Path) -> None:
    """On Linux a container reaches the machine at the bridge's address alone, so the server listens there."""
    gateway = docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}").stdout.strip()
    if sys.platform != "linux" or not can_listen(gateway, 42002):
        pytest.skip("port 42002 is taken, or this is no Linux")
    assert health(prometheus)["host"] != "up"
    with launched(tmp_path, LLM_HOST=gateway, LLM_PORT="42002", LLM_API_KEY="none") as server:
        wait_until(lambda: health(prometheus)["host"] == "up" or server.process.poll() is not None, seconds=120)
        assert health(prometheus)["host"] == "up", server.end_of_log


def test_rules_are_loaded_and_well(prometheus: str) -> None:
    groups = httpx2.get(f"{prometheus}/api/v1/rules", timeout=10).json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 40
    assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
