"""Servers that are killed in part, stopped, and started wrongly: real processes, real signals, real streams."""

from __future__ import annotations

import json
import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx2
import pytest

from llm_server import dev
from llm_server.supervisor import SAME_SIGNAL_SECONDS
from processes import is_running, wait_until
from running_server import RunningServer, StartServer, launched

UVICORN = ("-m", "uvicorn", "llm_server.server:app", "--port", "{port}")

A_SHELLS_FILES = 256
"""What a shell on macOS lets the programs that it starts have open."""

DIGIT_ONE = 16
"""A model that prefers this token to all others never ends its turn: it generates until it is at its limit."""


def endless_request(max_tokens: int) -> dict[str, Any]:
    return {
        "model": "gpt-oss-20b",
        "messages": [{"role": "user", "content": "Count to 5"}],
        "logit_bias": {str(DIGIT_ONE): 100},
        "max_tokens": max_tokens,
        "stream": True,
    }


@contextmanager
def stream(server: RunningServer, max_tokens: int) -> Iterator[Iterator[str]]:
    """The data of the events of a stream that has begun."""
    url = server.base_url + "/v1/chat/completions"
    with httpx2.stream("POST", url, json=endless_request(max_tokens), timeout=60) as response:
        assert response.status_code == 200, (response.read(), server.end_of_log)
        events = (line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: "))
        assert "role" in next(events)
        yield events


def finish_reason(last: str) -> object:
    return json.loads(last)["choices"][0]["finish_reason"]


def test_it_answers_before_the_model_is_loaded(start_server: StartServer) -> None:
    server = start_server(LLM_WORKERS="2")
    wait_until(server.engine_pids)
    (engine,) = server.engine_pids()
    os.kill(engine, signal.SIGSTOP)
    wait_until(lambda: server.answers("/livez"))
    assert not server.answers("/readyz")
    assert httpx2.get(server.base_url + "/health").json()["model_loaded"] is False
    os.kill(engine, signal.SIGCONT)
    server.wait_until_ready()
    assert httpx2.get(server.base_url + "/livez").json() == {"status": "ok"}
    assert len(server.worker_pids()) == 2


def test_more_connections_are_answered_than_a_shell_lets_it_have_files(start_server: StartServer) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (A_SHELLS_FILES, hard))
    try:
        server = start_server()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    wait_until(lambda: server.answers("/livez"))
    with ExitStack() as stack:
        for _ in range(A_SHELLS_FILES + 40):
            connection = stack.enter_context(closing(HTTPConnection("127.0.0.1", server.port, timeout=60)))
            connection.request("GET", "/livez")
            assert connection.getresponse().read() == b'{"status":"ok"}'


@pytest.fixture(scope="module")
def resilient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server for tests that kill a part of it and wait until it is whole again."""
    with launched(tmp_path_factory.mktemp("resilient")) as running:
        running.wait_until_ready()
        yield running


def test_an_engine_that_is_killed_costs_its_streams_an_error_and_nothing_else(resilient: RunningServer) -> None:
    workers, engine = resilient.worker_pids(), resilient.engine_pids()
    with stream(resilient, 100_000) as events:
        os.kill(min(engine), signal.SIGKILL)
        *_, last = events
    assert json.loads(last)["error"]["code"] == "engine_unavailable"
    assert resilient.answers("/livez")
    wait_until(lambda: resilient.engine_pids() - engine)
    wait_until(lambda: resilient.answers("/readyz"), seconds=60)
    assert resilient.worker_pids() == workers
    with stream(resilient, 10) as events:
        *_, last, done = events
    assert (finish_reason(last), done) == ("length", "[DONE]")


def test_a_worker_that_is_killed_is_replaced(resilient: RunningServer) -> None:
    before, engine = resilient.worker_pids(), resilient.engine_pids()
    os.kill(min(before), signal.SIGKILL)
    wait_until(lambda: resilient.worker_pids() - before)
    wait_until(lambda: resilient.answers("/readyz"))
    assert resilient.engine_pids() == engine


def test_gunicorn_itself_is_replaced(resilient: RunningServer) -> None:
    before, engine = resilient.worker_pids(), resilient.engine_pids()
    (master,) = {entry.parent for entry in resilient.children() if entry.pid in before}
    os.kill(master, signal.SIGKILL)
    wait_until(lambda: not any(is_running(pid) for pid in before))
    wait_until(lambda: resilient.answers("/readyz"))
    assert resilient.engine_pids() == engine


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_streams_finish_before_the_server_ends(start_server: StartServer, signum: signal.Signals) -> None:
    """SIGINT is sent as a terminal sends it: to the whole process group."""
    server = start_server(LLM_SHUTDOWN_TIMEOUT="300")
    server.wait_until_ready()
    children = server.children()
    with stream(server, 300) as events:
        send = os.killpg if signum == signal.SIGINT else os.kill
        send(server.process.pid, signum)
        wait_until(server.refuses_connections)
        *_, last, done = events
    assert (finish_reason(last), done) == ("length", "[DONE]")
    assert server.wait() == 0
    assert not any(is_running(child.pid) for child in children)


def test_streams_that_outlive_their_grace_end_with_an_error(start_server: StartServer) -> None:
    server = start_server(LLM_SHUTDOWN_TIMEOUT="0.5")
    server.wait_until_ready()
    with stream(server, 100_000) as events:
        server.process.terminate()
        *_, last = events
    assert json.loads(last)["error"]["code"] == "engine_unavailable"
    assert server.wait() == 0


def test_a_second_signal_ends_everything_at_once(start_server: StartServer) -> None:
    """The time runs from when the first was acted on, which a busy machine may do late."""
    server = start_server(LLM_SHUTDOWN_TIMEOUT="600")
    server.wait_until_ready()
    children = server.children()
    with stream(server, 100_000):
        server.process.terminate()
        wait_until(server.refuses_connections)
        time.sleep(SAME_SIGNAL_SECONDS)
        server.process.send_signal(signal.SIGINT)
        assert server.wait() == 128 + signal.SIGINT
    assert not any(is_running(child.pid) for child in children)


def test_a_signal_that_is_sent_twice_at_once_is_one_signal(start_server: StartServer) -> None:
    """As `timeout` and some shells do, to the process and to its group."""
    server = start_server(LLM_SHUTDOWN_TIMEOUT="300")
    server.wait_until_ready()
    with stream(server, 300) as events:
        server.process.terminate()
        server.process.send_signal(signal.SIGINT)
        *_, last, done = events
    assert (finish_reason(last), done) == ("length", "[DONE]")
    assert server.wait() == 0


@pytest.mark.parametrize("when", ["at once", "when ready"])
def test_nothing_survives_a_supervisor_that_is_killed(start_server: StartServer, when: str) -> None:
    server = start_server()
    if when == "when ready":
        server.wait_until_ready()
    wait_until(lambda: len(server.children()) >= 2)
    children = server.children()
    server.process.kill()
    server.wait()
    wait_until(lambda: not any(is_running(child.pid) for child in children))


def test_a_model_that_can_not_be_loaded_ends_the_start_with_one_line(start_server: StartServer, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{")
    server = start_server(LLM_MODEL_PATH=str(tmp_path / "model"))
    assert server.wait() == 78
    lines = [line for line in server.log.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, server.log
    assert lines[0].startswith("llm-server: ")
    assert server.log.splitlines()[-1] == lines[0]


def test_plain_uvicorn_runs_the_same_engine_and_stops_it(start_server: StartServer) -> None:
    server = start_server(command=UVICORN)
    server.wait_until_ready()
    (engine,) = server.engine_pids()
    with stream(server, 5) as events:
        *_, done = events
    assert done == "[DONE]"
    server.process.terminate()
    server.wait()
    assert not is_running(engine)


def test_plain_uvicorn_ends_when_the_model_can_not_be_loaded(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(command=UVICORN, LLM_MODEL_PATH=str(tmp_path))
    assert server.wait() != 0
    assert len([line for line in server.log.splitlines() if line.startswith("llm-server: ")]) == 1


def test_while_developing_a_change_starts_all_anew_and_leaves_nothing_behind(
    start_server: StartServer, tmp_path: Path
) -> None:
    """Settings of `.env` hold there as well; pages of this machine may call unless they say otherwise."""
    (tmp_path / ".env").write_text("LLM_MODEL_NAME=from-the-file\n")
    server = start_server(command=("-m", "llm_server.dev"))
    server.wait_until_ready()
    before = server.engine_pids()
    Path(dev.__file__).touch()
    wait_until(lambda: server.engine_pids() and not server.engine_pids() & before, seconds=60)
    server.wait_until_ready()
    answer = httpx2.get(server.base_url + "/v1/models", headers={"origin": "http://localhost:3000"})
    assert answer.json()["data"][0]["id"] == "from-the-file"
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
    children = server.children()
    os.killpg(server.process.pid, signal.SIGINT)
    server.wait()
    wait_until(lambda: not any(is_running(pid) for pid in before | {child.pid for child in children}))


def test_the_log_tells_what_memory_has_room_for(server: RunningServer) -> None:
    rooms = [line for line in server.log.splitlines() if "Room for" in line]
    assert len(rooms) == 1
    assert json.loads(rooms[0])["logger"] == "llm_server.engine.process"


def freeform(syntax: str, definition: str) -> dict[str, Any]:
    form = {"type": "grammar", "syntax": syntax, "definition": definition}
    return {"type": "custom", "name": "say", "description": "Says it", "format": form}


def strict(city: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"city": {"type": "string", **city}}, "required": ["city"]}
    return {"type": "function", "name": "look", "parameters": schema, "strict": True}


def test_logs_are_json_and_never_hold_what_was_said(server: RunningServer) -> None:
    nonce = "kumquat-7313"
    message = {"role": "user", "content": nonce}
    for body in (
        {"model": "gpt-oss-20b", "messages": [message], "max_tokens": 5},
        {"model": "gpt-oss-20b", "messages": [message], "temperature": nonce},
        {"model": "gpt-oss-20b", "messages": [{**message, "role": nonce}]},
        {"model": nonce, "messages": [message]},
    ):
        httpx2.post(server.base_url + "/v1/chat/completions", json=body, timeout=60)
    for tool in (
        freeform("regex", f"[{nonce}"),
        freeform("lark", f'start: "{nonce}" other'),
        strict({"pattern": f"({nonce}"}),
    ):
        body = {"model": "gpt-oss-20b", "input": "Hello", "tools": [tool]}
        assert httpx2.post(server.base_url + "/v1/responses", json=body, timeout=60).status_code == 400
    httpx2.get(server.base_url + "/v1/models", params={"after": nonce})
    wait_until(lambda: "/v1/models" in server.log)  # a line is written when the answer is out
    lines = [json.loads(line) for line in server.log.splitlines()]
    assert {line["process"] for line in lines} == {"supervisor", "engine", "api"}
    assert nonce not in server.log
    assert nonce not in httpx2.get(server.base_url + "/metrics").text
