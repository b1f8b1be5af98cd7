"""The doctor: what it says of real ports, of servers that answer this and that, and of a `docker` that is a script."""

from __future__ import annotations

import io
import json
import socket
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from llm_server.cli import main
from llm_server.doctor import Finding, Server, check_key, check_memory, doctor, examine, own_url
from llm_server.model_source import GIB, Machine
from llm_server.settings import load_settings

HEALTHY = {"status": "ok", "model_loaded": True, "model_name": "gpt-oss-tiny"}
NOBODY = "http://127.0.0.1:9"


@dataclass(frozen=True)
class Answer:
    body: Any
    status: int = 200
    key: str | None = None
    """With a key, callers who do not present it get 401 instead."""


@contextmanager
def answering(answers: Mapping[str, Answer]) -> Iterator[int]:
    """An HTTP server that knows these paths, each with its answer as JSON. Yields its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers.get(self.path.partition("?")[0], Answer({}, 404))
            refused = answer.key and self.headers.get("authorization") != f"Bearer {answer.key}"
            body = json.dumps(answer.body).encode()
            self.send_response(401 if refused else answer.status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Not to the terminal."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def saying_nothing() -> Iterator[int]:
    """A program that accepts connections and never answers. Yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


@contextmanager
def hanging_up() -> Iterator[int]:
    """A program that accepts a connection and closes it. Yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=lambda: listener.accept()[0].close())
        thread.start()
        yield int(listener.getsockname()[1])
        thread.join()


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No `.env`, no docker and no model but the embedded one, unless the test brings them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("LLM_MODEL_PATH", "tiny")
    monkeypatch.setenv("LLM_PORT", str(free_port()))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def findings(prometheus: str = NOBODY) -> dict[str, Finding]:
    return {finding.check: finding for finding in examine(prometheus)}


def install_docker(folder: Path, script: str) -> None:
    program = folder / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def test_a_machine_on_which_nothing_runs_is_well() -> None:
    found = findings()
    assert {check: finding.verdict for check, finding in found.items()} == {
        "settings": "ok",
        "model": "ok",
        "memory": "ok",
        "server": "warning",
        "key": "ok",
        "docker": "warning",
        "prometheus": "skipped",
    }
    assert "is free" in found["server"].found
    assert "make serve" in found["server"].advice
    assert "docker compose up" in found["prometheus"].advice


def test_a_misspelt_setting_is_all_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_PROT", "1")
    (finding,) = examine(NOBODY)
    assert (finding.check, finding.verdict) == ("settings", "failed")
    assert "LLM_PORT" in finding.found


def test_a_model_that_is_no_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setenv("LLM_MODEL_PATH", str(tmp_path))
    found = findings()
    assert found["model"].verdict == "failed"
    assert "memory" not in found


def test_a_model_that_is_not_downloaded_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_MODEL_PATH", "nobody/nothing")
    found = findings()
    assert "not downloaded yet" in found["model"].found
    assert found["memory"].verdict == "skipped"


@pytest.mark.parametrize(
    ("system", "memory", "model", "verdict"),
    [
        ("Darwin", 16, 11, "ok"),
        ("Darwin", 16, 12, "failed"),
        ("Linux", 16, 12, "ok"),
        ("Linux", 8, 12, "failed"),
        ("Linux", 1, 0.7, "ok"),
    ],
)
def test_memory(system: str, memory: int, model: float, verdict: str) -> None:
    """A Mac's GPU may use three quarters of the memory; 0.7 GB, and more for a large model, go to other things."""
    machine = Machine(system, "arm64", memory * GIB)
    assert check_memory(machine, int((model - 0.6) * GIB)).verdict == verdict


def test_a_port_that_another_program_has(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering({"/health": Answer({"hello": "world"})}) as port:
        monkeypatch.setenv("LLM_PORT", str(port))
        server = findings()["server"]
    assert (server.verdict, server.found) == ("failed", f"port {port} is taken by another program")
    assert "LLM_PORT" in server.advice


def test_a_port_where_somebody_listens_who_speaks_no_http(monkeypatch: pytest.MonkeyPatch) -> None:
    with hanging_up() as port:
        monkeypatch.setenv("LLM_PORT", str(port))
        assert findings()["server"].verdict == "failed"


def test_a_port_where_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that hangs is not taken for another program."""
    with saying_nothing() as port:
        monkeypatch.setenv("LLM_PORT", str(port))
        server = findings()["server"]
    assert (server.verdict, "says nothing" in server.found) == ("failed", True)


def test_a_server_that_has_gone_before_it_was_asked_for_its_key() -> None:
    key = check_key(Server(load_settings(), NOBODY), runs=True)
    assert key.verdict == "skipped"


def test_a_server_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering({"/health": Answer(HEALTHY), "/v1/models": Answer({})}) as port:
        monkeypatch.setenv("LLM_PORT", str(port))
        found = findings()
    assert found["server"].found == f"answers at http://127.0.0.1:{port} with model gpt-oss-tiny"
    assert found["key"].found == "none is needed on loopback, and the running server agrees"


def test_a_server_whose_engine_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering({"/health": Answer({**HEALTHY, "status": "error"}, 503), "/v1/models": Answer({})}) as port:
        monkeypatch.setenv("LLM_PORT", str(port))
        assert findings()["server"].verdict == "failed"


@pytest.mark.parametrize(("key", "verdict"), [("right", "ok"), ("wrong", "failed"), ("", "failed")])
def test_the_key_of_the_running_server(monkeypatch: pytest.MonkeyPatch, key: str, verdict: str) -> None:
    with answering({"/health": Answer(HEALTHY), "/v1/models": Answer({}, key="right")}) as port:
        monkeypatch.setenv("LLM_PORT", str(port))
        monkeypatch.setenv("LLM_API_KEY", key)
        assert findings()["key"].verdict == verdict


def test_docker_that_is_installed_and_does_not_run(tmp_path: Path) -> None:
    install_docker(tmp_path, 'echo "Cannot connect to the Docker daemon" >&2; exit 1')
    found = findings()
    assert found["docker"].found == "installed, and its engine does not answer"
    assert "container" not in found


DOCKER = """
case "$1" in
  info) echo 28.0.0 ;;
  ps) echo f00ba7 ;;
  exec) echo "$*" >> calls; echo 'query error: {error}' >&2; exit 1 ;;
esac
"""


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        ("client_error: client error: 404 (detail: no such page)", "ok"),
        ("client_error: client error: 403 (detail: not this host)", "ok"),
        ('Post "http://host.docker.internal:1/api/v1/query": dial tcp: connection refused', "warning"),
        ('Post "http://host.docker.internal:1/api/v1/query": EOF', "warning"),
    ],
)
def test_the_way_from_a_container_to_the_host(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: str, verdict: str
) -> None:
    install_docker(tmp_path, DOCKER.format(error=error))
    with answering({"/health": Answer(HEALTHY), "/v1/models": Answer({})}) as port:
        monkeypatch.setenv("LLM_PORT", str(port))
        container = findings()["container"]
    assert container.verdict == verdict
    assert bool(container.advice) == (verdict == "warning")
    assert f"exec f00ba7 promtool query instant http://host.docker.internal:{port}" in (tmp_path / "calls").read_text()


def test_no_container_of_the_stack_to_try_it_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install_docker(tmp_path, '[ "$1" != info ] || echo 28.0.0')
    assert findings()["container"].found == "no server runs on this machine that a container could reach"
    with answering({"/health": Answer(HEALTHY), "/v1/models": Answer({})}) as port:
        monkeypatch.setenv("LLM_PORT", str(port))
        assert findings()["container"].found == "no container of the stack runs"


def target(health: str, error: str = "", job: str = "llm-server") -> Answer:
    labels = {"job": job, "instance": "host"}
    return Answer({"data": {"activeTargets": [{"labels": labels, "health": health, "lastError": error}]}})


@pytest.mark.parametrize(
    ("answer", "verdict", "advice"),
    [
        (target("up"), "ok", ""),
        (target("down", "server returned HTTP status 401 Unauthorized"), "warning", "LLM_API_KEY"),
        (target("down", "server returned HTTP status 403 Forbidden"), "warning", "LLM_ALLOWED_HOSTS"),
        (target("down", "connect: connection refused"), "warning", "Start the server"),
        (target("up", job="other"), "warning", "prometheus.yml"),
        (Answer(["no", "Prometheus"]), "warning", "docker compose up"),
    ],
)
def test_prometheus(answer: Answer, verdict: str, advice: str) -> None:
    with answering({"/api/v1/targets": answer}) as port:
        prometheus = findings(f"http://127.0.0.1:{port}")["prometheus"]
    assert prometheus.verdict == verdict
    assert advice in prometheus.advice


def test_a_server_that_runs_is_not_to_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"/health": Answer(HEALTHY), "/v1/models": Answer({}), "/api/v1/targets": target("down", "no route")}
    with answering(answers) as port:
        monkeypatch.setenv("LLM_PORT", str(port))
        prometheus = findings(f"http://127.0.0.1:{port}")["prometheus"]
    assert "runs and is not reached" in prometheus.advice


def test_the_report_and_its_exit_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--prometheus", NOBODY]) == 0
    assert "warning  server" in capsys.readouterr().out
    with hanging_up() as port:
        monkeypatch.setenv("LLM_PORT", str(port))
        assert main(["doctor", "--json", "--prometheus", NOBODY]) == 1
    (server,) = [each for each in json.loads(capsys.readouterr().out) if each["check"] == "server"]
    assert set(server) == {"check", "verdict", "found", "advice"}
    assert server["verdict"] == "failed"


def test_the_key_is_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_API_KEY", "kumquat-7313")
    output = io.StringIO()
    doctor(output, as_json=True, prometheus=NOBODY)
    assert "kumquat" not in output.getvalue()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:1234"),
        ("0.0.0.0", "http://127.0.0.1:1234"),
        ("::", "http://[::1]:1234"),
        ("::1", "http://[::1]:1234"),
        ("mac.local", "http://mac.local:1234"),
    ],
)
def test_the_address_of_the_own_server(host: str, url: str) -> None:
    assert own_url(load_settings(host=host, port=1234, api_key="a" * 8)) == url
