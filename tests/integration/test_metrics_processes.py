"""Metrics of a whole server with four workers: true whoever answers, and whoever is killed. And what is seen of a
request from outside: numbers, and never a word of it, in logs of every level, metrics, traces and errors."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from exposed_metrics import OPENMETRICS_ACCEPT, Exposed, exposed
from otlp_receiver import Collector, grpc_collector
from processes import wait_until
from running_server import SERVE, RunningServer, StartServer, launched

KEY = "sk-local-7313"
NONCE = "kumquat7313"
CHAT = "/v1/chat/completions"
UVICORN = ("-m", "uvicorn", "llm_server.server:app", "--port", "{port}")
JSON = {"content-type": "application/json"}
DIGIT_ONE = 16
"""A model that prefers this token to all others never ends its turn: it generates until it is at its limit."""

SHORT: dict[str, Any] = {
    "model": "gpt-oss-20b",
    "messages": [{"role": "user", "content": "Hello"}],
    "max_tokens": 2,
    "logit_bias": {str(DIGIT_ONE): 100},
}
ENDLESS = {**SHORT, "max_tokens": 100_000, "stream": True}


@dataclass(frozen=True)
class Watched:
    """A server, and the collector that gets its traces."""

    server: RunningServer
    collector: Collector

    @property
    def http(self) -> httpx2.Client:
        return httpx2.Client(base_url=self.server.base_url, headers={"authorization": f"Bearer {KEY}"}, timeout=120)

    def read(self) -> Exposed:
        return exposed(self.server.base_url, authorization=f"Bearer {KEY}")

    def until(self, name: str, value: float, **labels: str) -> Exposed:
        """The metrics, once this one is as it should be."""
        found: list[Exposed] = []

        def so() -> bool:
            found.append(self.read())
            return name in found[-1] and found[-1].value(name, **labels) == value

        try:
            wait_until(so, seconds=60)
        except TimeoutError:
            raise AssertionError([line for line in found[-1].text.splitlines() if line.startswith(name)]) from None
        return found[-1]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with (
        grpc_collector() as collector,
        launched(
            tmp_path_factory.mktemp("watched"),
            LLM_WORKERS="4",
            LLM_API_KEY=KEY,
            LLM_LOG_LEVEL="debug",
            LLM_CANARY_INTERVAL="1",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
            OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
            OTEL_BSP_SCHEDULE_DELAY="100",
        ) as server,
    ):
        server.wait_until_ready()
        yield Watched(server, collector)


@contextmanager
def endless_stream(watched: Watched) -> Iterator[Iterator[str]]:
    with watched.http as http, http.stream("POST", CHAT, json=ENDLESS) as response:
        lines = response.iter_lines()
        next(lines)
        yield lines


def assert_nothing_was_forgotten(before: Exposed, after: Exposed) -> None:
    counts = after.counters()
    assert not {name: value for name, value in before.counters().items() if counts.get(name, -1) < value}


def test_four_workers_are_counted_as_one(watched: Watched) -> None:
    before = watched.read().value("vllm:request_success_total", finished_reason="length")
    pids = {line["pid"] for line in requests_of(watched)}
    for _ in range(40):
        with watched.http as http:  # a new connection each time, which any worker may take
            assert http.post(CHAT, json=SHORT).status_code == 200
    read = watched.until("vllm:request_success_total", before + 40, finished_reason="length")
    assert read.value("vllm:generation_tokens_total") >= 80
    assert len({line["pid"] for line in requests_of(watched)} - pids) > 1, "one worker alone has answered"


def requests_of(watched: Watched) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in watched.server.log.splitlines() if line.startswith("{")]
    return [line for line in lines if line["logger"] == "llm_server.requests"]


def test_nothing_of_what_is_said_is_seen_from_outside(watched: Watched) -> None:
    """Neither that of good requests nor that of bad ones, in no field of theirs, at no level of the log."""
    said = {"role": "user", "content": f"Repeat {NONCE}"}
    tool = {"type": "function", "function": {"name": "look", "description": NONCE, "parameters": {"title": NONCE}}}
    call = {"id": NONCE, "type": "function", "function": {"name": "look", "arguments": json.dumps({"a": NONCE})}}
    past = [{"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": NONCE, "content": NONCE}]
    bodies: list[Any] = [
        {**SHORT, "messages": [{"role": "system", "content": NONCE}, said], "tools": [tool], "stop": [NONCE]},
        {**SHORT, "messages": [said, *past], "tools": [tool], "stream": True},
        {**SHORT, "messages": [said], "temperature": NONCE},
        {**SHORT, "messages": [{**said, "role": NONCE}]},
        {**SHORT, "messages": [said], NONCE: NONCE},
        {**SHORT, "model": NONCE},
        {**SHORT, "tools": [{"type": "function", "function": {"name": f"{NONCE} !", "parameters": {"type": NONCE}}}]},
        {
            **SHORT,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": NONCE, "strict": True, "schema": {"type": "object", NONCE: NONCE}},
            },
        },
        [NONCE],
    ]
    errors = ""
    with watched.http as http:
        for body in bodies:
            response = http.post(CHAT, json=body)
            errors += response.text if response.status_code >= 400 else ""
        errors += http.post(CHAT, content=f'{{"messages": "{NONCE}'.encode(), headers=JSON).text
        errors += http.get(f"/{NONCE}", params={"q": NONCE}).text
        claude = {"model": "claude-test", "max_tokens": 2, "system": NONCE, "messages": [said]}
        http.post("/v1/messages", json=claude)
        errors += http.post("/v1/messages", json={**claude, "messages": [{**said, "content": [{"type": NONCE}]}]}).text
        errors += http.get("/v1/models", headers={"authorization": f"Bearer {NONCE}"}).text
    assert errors.count('"error"') > 8
    wait_until(
        lambda: len([span for span in watched.collector.spans if span.attributes.get("gen_ai.usage.input_tokens")]) > 2
    )
    with watched.http as http:
        metrics = http.get("/metrics").text + http.get("/metrics", headers={"accept": OPENMETRICS_ACCEPT}).text
    for place, text in (("log", watched.server.log), ("metrics", metrics), ("errors", errors)):
        assert NONCE not in text, place
    assert NONCE.encode() not in watched.collector.raw


def test_traces_come_from_every_worker(watched: Watched) -> None:
    for _ in range(20):
        with watched.http as http:
            http.post(CHAT, json=SHORT)
    wait_until(lambda: len({span.resource["process.pid"] for span in watched.collector.spans}) > 1)
    pids = {span.resource["process.pid"] for span in watched.collector.spans}
    assert pids <= watched.server.worker_pids()
    assert {span.resource["service.name"] for span in watched.collector.spans} == {"llm-server"}


def test_an_idle_engine_is_asked_for_a_token_now_and_then(watched: Watched) -> None:
    before = watched.read().value("llm_server_canary_total", result="ok")
    wait_until(lambda: watched.read().value("llm_server_canary_total", result="ok") > before)
    assert watched.read().value("llm_server_canary_total") == watched.read().value(
        "llm_server_canary_total", result="ok"
    )


def test_a_worker_that_is_killed_leaves_its_counts_and_takes_its_gauges(watched: Watched) -> None:
    before = watched.read()
    workers = watched.server.worker_pids()
    with endless_stream(watched) as lines:
        next(lines)
        watched.until("llm_server_http_inflight", 1, route=CHAT)
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(httpx2.RemoteProtocolError):
            list(lines)
    wait_until(lambda: len(watched.server.worker_pids() - workers) == 4)
    wait_until(lambda: watched.server.answers("/readyz"))
    read = watched.until("vllm:num_requests_running", 0)
    assert sum(sample.value for sample in read.samples("llm_server_http_inflight", route=CHAT)) == 0
    assert_nothing_was_forgotten(before, read)
    with watched.http as http:
        assert http.post(CHAT, json=SHORT).status_code == 200
    after = watched.until(
        "vllm:request_success_total",
        before.value("vllm:request_success_total", finished_reason="length") + 1,
        finished_reason="length",
    )
    assert_nothing_was_forgotten(before, after)


def test_an_engine_that_is_killed_is_seen_to_die_and_to_come_back(watched: Watched) -> None:
    before = watched.read()
    (engine,) = watched.server.engine_pids()
    assert before.value("llm_server_engine_up") == 1
    assert before.value("llm_server_process_phys_footprint_bytes", process="engine") > 1e7
    with endless_stream(watched):
        watched.until("vllm:num_requests_running", 1)
        os.kill(engine, signal.SIGKILL)
        down = watched.until("llm_server_engine_up", 0)
    assert down.value("vllm:num_requests_running") == 0
    assert down.value("llm_server_engine_restarts_total", reason="killed") == 1
    up = watched.until("llm_server_engine_up", 1)
    assert up.value("llm_server_engine_recovery_seconds_count") == 1
    wait_until(lambda: watched.server.answers("/readyz"))
    with watched.http as http:
        assert http.post(CHAT, json=SHORT).status_code == 200
    after = watched.until("llm_server_stream_errors_total", 1, route=CHAT)
    assert_nothing_was_forgotten(before, after)
    assert after.value("vllm:request_success_total", finished_reason="error") == 1


def test_plain_uvicorn_has_the_same_metrics(start_server: StartServer) -> None:
    server = start_server(command=UVICORN)
    server.wait_until_ready()
    assert httpx2.post(server.base_url + CHAT, json=SHORT, timeout=120).status_code == 200
    wait_until(lambda: exposed(server.base_url).value("llm_server_engine_step_seconds_count") > 0)
    read = exposed(server.base_url)
    assert read.value("vllm:generation_tokens_total") == 2
    assert read.value("llm_server_engine_up") == 1
    (engine,) = server.engine_pids()
    os.kill(engine, signal.SIGKILL)
    wait_until(lambda: exposed(server.base_url).value("llm_server_engine_up") == 0)
    assert exposed(server.base_url).value("llm_server_engine_restarts_total", reason="killed") == 1


@pytest.mark.parametrize("command", [SERVE, UVICORN])
def test_a_collector_can_be_named_where_the_settings_are(tmp_path: Path, command: tuple[str, ...]) -> None:
    with grpc_collector() as collector:
        (tmp_path / ".env").write_text(
            f"OTEL_EXPORTER_OTLP_ENDPOINT={collector.endpoint}\nOTEL_SERVICE_NAME=from-the-file\n"
        )
        with launched(tmp_path, command, OTEL_SERVICE_NAME="from-the-environment") as server:
            server.wait_until_ready()
            httpx2.get(server.base_url + "/v1/models", timeout=60)
            wait_until(lambda: bool(collector.spans))
    assert {span.resource["service.name"] for span in collector.spans} == {"from-the-environment"}
