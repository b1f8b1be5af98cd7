"""The doctor's checks of containers: Docker, the way from a container to this machine, and Prometheus's target."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx2

from llm_server.doctor import Finding, Server

_COMMAND_SECONDS: Final = 20.0
_PROBE_SECONDS: Final = 5.0
_PROMETHEUS_CONTAINER: Final = (
    *("docker", "ps", "--quiet", "--filter", "label=com.docker.compose.project=llm-server"),
    *("--filter", "label=com.docker.compose.service=prometheus"),
)

HOST_FROM_CONTAINER: Final = "host.docker.internal"
JOB: Final = "llm-server"

INSTALL: Final = "Dashboards and the CPU image need Docker: Docker Desktop or OrbStack on a Mac, docker.io on Debian."
START: Final = "Start Docker Desktop (or `systemctl start docker`). The server itself does not need it."
START_STACK: Final = "`docker compose up -d` in the repository starts Prometheus, Grafana and Tempo."
UNREACHABLE: Final = {
    "Darwin": "Docker Desktop forwards host.docker.internal to this Mac's loopback; if yours does not, set"
    " LLM_HOST=0.0.0.0 with LLM_API_KEY.",
    "Linux": "On Linux a container reaches this machine at its bridge's address alone: set LLM_HOST to that"
    " (`docker network inspect bridge`) with LLM_API_KEY, or run the server as a container: `docker compose --profile"
    " cpu up -d`.",
}
REFUSALS: Final = {
    "401": "Prometheus presents another key: `docker compose up -d` with the server's LLM_API_KEY in the environment.",
    "403": "The server does not know the name that Prometheus calls it by: add it to LLM_ALLOWED_HOSTS.",
}


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that has ended, or could not be run at all (`code` None)."""

    code: int | None
    output: str


def container_findings(server: Server, prometheus: str, *, runs: bool) -> Iterator[Finding]:
    """Docker, and if it answers the way to the host; Prometheus is asked in any case, it may run without Docker."""
    docker = check_docker()
    yield docker
    if docker.verdict == "ok":
        yield check_way_to_host(server, runs=runs)
    yield check_prometheus(prometheus, runs=runs)


def check_docker() -> Finding:
    ran = _run(["docker", "info", "--format", "{{.ServerVersion}}"])
    if ran.code is None:
        return Finding("docker", "warning", "not installed", INSTALL)
    if ran.code != 0 or not ran.output.strip():
        return Finding("docker", "warning", "installed, and its engine does not answer", START)
    return Finding("docker", "ok", f"engine {ran.output.split()[0]}")


def check_way_to_host(server: Server, *, runs: bool) -> Finding:
    """Whether a container gets an answer from the server on this machine, tried from Prometheus's own container."""
    if not runs:
        return Finding("container", "skipped", "no server runs on this machine that a container could reach")
    container = _run(_PROMETHEUS_CONTAINER).output.strip()
    if not container:
        return Finding("container", "skipped", "no container of the stack runs", START_STACK)
    url = f"http://{HOST_FROM_CONTAINER}:{server.settings.port}"
    ran = _run(["docker", "exec", container.split()[0], "promtool", "query", "instant", url, "1"])
    if _answered(ran):
        return Finding("container", "ok", f"Prometheus's container gets an answer from {HOST_FROM_CONTAINER}")
    advice = UNREACHABLE.get(platform.system(), UNREACHABLE["Linux"])
    return Finding("container", "warning", f"a container gets no answer from {url}", advice)


def _answered(ran: Ran) -> bool:
    """promtool posts to a path that this server has not. A status is an answer; an error of the POST itself is none."""
    return ran.code == 0 or ("query error" in ran.output and 'Post "' not in ran.output)


def check_prometheus(url: str, *, runs: bool) -> Finding:
    """Whether Prometheus runs and its last scrape of the server succeeded."""
    try:
        answer = httpx2.get(url + "/api/v1/targets", params={"state": "active"}, timeout=_PROBE_SECONDS)
        targets = [target for target in answer.json()["data"]["activeTargets"] if target["labels"]["job"] == JOB]
    except httpx2.ConnectError:
        return Finding("prometheus", "skipped", f"none at {url}", START_STACK)
    except (httpx2.HTTPError, ValueError, KeyError, TypeError):
        return Finding("prometheus", "warning", f"{url} answers, and not as Prometheus does", START_STACK)
    up = [target["labels"]["instance"] for target in targets if target["health"] == "up"]
    if up:
        return Finding("prometheus", "ok", f"scrapes {' and '.join(up)}")
    if not targets:
        advice = "Use monitoring/prometheus/prometheus.yml, or add a job of this name to your own."
        return Finding("prometheus", "warning", f"has no job `{JOB}`", advice)
    return _no_target_up(targets, runs=runs)


def _no_target_up(targets: Sequence[dict[str, Any]], *, runs: bool) -> Finding:
    errors = {target["labels"]["instance"]: target["lastError"] or "not scraped yet" for target in targets}
    found = "; ".join(f"{instance}: {error}" for instance, error in errors.items())
    advice = next((advice for status, advice in REFUSALS.items() if f"status {status}" in found), "")
    otherwise = "The server runs and is not reached: see the check `container`." if runs else "Start the server."
    return Finding("prometheus", "warning", found, advice or otherwise)


def _run(command: Sequence[str]) -> Ran:
    """Both streams of a command. Neither a missing program nor one that hangs is an error here."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False)
    except OSError:
        return Ran(None, "")
    except subprocess.TimeoutExpired:
        return Ran(-1, "")
    return Ran(done.returncode, done.stdout + (done.stderr if done.returncode else ""))
