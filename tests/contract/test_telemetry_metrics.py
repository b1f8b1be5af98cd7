"""`/metrics` as scrapers read it, judged by Prometheus' own parsers and by promtool."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from typing import Any

import httpx2
import pytest

from clients import application, async_client
from exposed_metrics import Exposed
from fakes import LOADING, Fail, Hang, ScriptedEngine, reply
from llm_server.errors import EngineUnavailable, Overloaded

PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
UNDERSCORES = PROMETHEUS_3.replace("allow-utf-8", "underscores")
PROMETHEUS_2 = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
PROTOBUF_FIRST = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7," + PROMETHEUS_3
)
ACCEPTS = {
    PROMETHEUS_3: "application/openmetrics-text; version=1.0.0; charset=utf-8",
    UNDERSCORES: "application/openmetrics-text; version=1.0.0; charset=utf-8",
    PROMETHEUS_2: "application/openmetrics-text; version=1.0.0; charset=utf-8",
    PROTOBUF_FIRST: "application/openmetrics-text; version=1.0.0; charset=utf-8",
    "text/plain": "text/plain; version=0.0.4; charset=utf-8",
    "*/*": "text/plain; version=0.0.4; charset=utf-8",
}
BODY: dict[str, Any] = {"model": "gpt-oss-20b", "messages": [{"role": "user", "content": "Hello"}]}
CHAT = "/v1/chat/completions"


def client(engine: ScriptedEngine | None = None, **values: Any) -> httpx2.AsyncClient:
    return async_client(application(engine or ScriptedEngine(reply("Hm.", "Hello")), **values))


async def scraped(http: httpx2.AsyncClient, **headers: str) -> Exposed:
    return Exposed.of(await http.get("/metrics", headers=headers))


@pytest.mark.parametrize("accept", ACCEPTS)
async def test_no_scraper_gets_other_names(accept: str) -> None:
    http = client()
    assert (await http.post(CHAT, json=BODY)).status_code == 200
    response = await http.get("/metrics", headers={"accept": accept})
    assert response.headers["content-type"] == ACCEPTS[accept]
    read = Exposed.of(response)
    assert read.value("vllm:num_requests_running") == 0
    assert read.value("vllm:request_success_total", finished_reason="stop") == 1
    assert "vllm_" not in response.text
    assert not re.search(r"^# (HELP|TYPE) \S+ *$", response.text, re.MULTILINE)


async def test_both_formats_say_the_same() -> None:
    http = client()
    await http.post(CHAT, json=BODY)
    text = await scraped(http, accept="text/plain")
    openmetrics = await scraped(http, accept="application/openmetrics-text")
    names = {name for name, _ in text.counters()}
    assert names == {name for name, _ in openmetrics.counters()}
    assert {"vllm:generation_tokens_total", "vllm:time_to_first_token_seconds_bucket"} <= names


async def after_a_request() -> str:
    http = client()
    await http.post(CHAT, json=BODY)
    return (await http.get("/metrics")).text


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: apt install prometheus)"
)
def test_promtool_finds_nothing_but_the_names_that_vllm_has_chosen() -> None:
    text = asyncio.run(after_a_request())
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("vllm:")]
    assert complaints == []
    assert "error while linting" not in done.stderr


CHILDREN = [
    ("llm_server_http_requests_total", {"route": CHAT, "method": "POST", "status": "500", "dialect": "openai_chat"}),
    ("llm_server_http_requests_total", {"route": "/v1/messages", "status": "503", "dialect": "anthropic"}),
    ("llm_server_http_requests_total", {"route": "/v1/responses", "status": "200", "dialect": "responses"}),
    ("vllm:request_success_total", {"finished_reason": "error"}),
    ("vllm:admission_rejections_total", {"reason": "queue_full"}),
    ("vllm:time_to_first_token_seconds_bucket", {"le": "2.5"}),
    ("vllm:inter_token_latency_seconds_bucket", {"le": "0.05"}),
    ("gen_ai_server_request_duration_seconds_bucket", {"le": "0.64"}),
    ("llm_server_stream_errors_total", {"route": CHAT}),
    ("llm_server_http_inflight", {"route": CHAT, "dialect": "openai_chat"}),
    ("llm_server_requests_cancelled_total", {"phase": "prefill", "cause": "disconnect"}),
    ("llm_server_request_timeouts_total", {"stage": "ttft"}),
    ("llm_server_engine_restarts_total", {"reason": "watchdog"}),
    ("llm_server_canary_total", {"result": "timeout"}),
    ("llm_server_cancel_latency_seconds_bucket", {"phase": "decode", "le": "2.0"}),
    ("llm_server_harmony_repairs_total", {"kind": "unknown_channel", "part": "header"}),
    ("llm_server_sealed_reasoning_failures_total", {}),
    ("llm_server_telemetry_dropped_total", {"process": "api"}),
]


@pytest.mark.parametrize(("name", "labels"), CHILDREN)
async def test_what_alerts_look_for_is_there_before_it_happens(name: str, labels: dict[str, str]) -> None:
    assert (await scraped(client())).value(name, **labels) == 0


async def test_nothing_that_a_client_writes_becomes_a_label() -> None:
    http = client()
    nonce = "kumquat7313"
    await http.post(CHAT, json={**BODY, "model": nonce})
    await http.post(CHAT, json={**BODY, "user": nonce, "metadata": {nonce: nonce}})
    await http.get(f"/{nonce}")
    await http.get(f"/v1/models/{nonce}")
    await http.request(nonce.upper(), "/v1/models")
    await http.get("/livez", headers={"x-request-id": nonce, "user-agent": nonce})
    read = await scraped(http)
    assert nonce not in read.text.lower()
    assert read.value("llm_server_http_requests_total", route="unmatched", status="404") == 1
    assert read.value("llm_server_http_requests_total", route="/v1/models/{name:path}", status="404") == 1
    assert read.value("llm_server_http_requests_total", method="OTHER", status="405") == 1


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [(Overloaded("Full.", retry_after=1), "queue_full"), (EngineUnavailable("Gone.", retry_after=1), "engine_down")],
)
async def test_refusals_are_counted_by_their_reason(refusal: Exception, reason: str) -> None:
    engine = ScriptedEngine(reply("Hm.", "Hello"), refusal=refusal)  # type: ignore[arg-type]
    http = client(engine)
    await http.post(CHAT, json=BODY)
    read = await scraped(http)
    assert read.value("vllm:admission_rejections_total", reason=reason) == 1
    assert read.value("vllm:admission_rejections_total") == 1
    assert read.value("vllm:request_success_total") == 0


@pytest.mark.parametrize(("status", "state"), [(None, "unavailable"), (LOADING, "loading")])
async def test_it_answers_without_an_engine(status: Any, state: str) -> None:
    read = await scraped(client(ScriptedEngine(status=status)))
    assert read.value("llm_server_engine_up") == 0
    assert read.value("llm_server_engine_state", state=state) == 1


async def test_a_key_that_is_set_is_asked_for() -> None:
    http = client(api_key="sk-local")
    assert (await http.get("/metrics")).status_code == 401
    assert (await http.get("/metrics", headers={"authorization": "Bearer sk-local"})).status_code == 200


async def test_only_reading_is_possible() -> None:
    http = client()
    assert (await http.head("/metrics")).status_code == 200
    assert (await http.post("/metrics")).status_code == 405


async def test_what_a_server_that_stops_gives_up_is_told_from_what_clients_do() -> None:
    engine = ScriptedEngine([Hang()])
    http = client(engine)
    asking = asyncio.create_task(http.post(CHAT, json=BODY))
    await engine.hanging.wait()
    asking.cancel()
    await asyncio.wait({asking})
    read = await scraped(http)
    assert read.value("llm_server_requests_cancelled_total", phase="prefill", cause="shutdown") == 1
    assert read.value("llm_server_requests_cancelled_total") == 1


async def test_a_choice_that_is_given_up_because_another_one_failed_is_no_clients_doing() -> None:
    scripts: list[list[Any]] = [[Fail()], [Hang()]]
    http = client(ScriptedEngine(lambda _: scripts.pop()))
    assert (await http.post(CHAT, json={**BODY, "n": 2})).status_code == 503
    read = await scraped(http)
    assert read.value("llm_server_requests_cancelled_total", phase="prefill", cause="api") == 1
    assert read.value("vllm:request_success_total", finished_reason="error") == 1
    assert read.value("vllm:request_success_total", finished_reason="abort") == 1


async def test_a_request_that_takes_too_long_is_counted_by_how_far_it_came() -> None:
    http = client(ScriptedEngine([Hang()]), request_timeout=0.2)
    assert (await http.post(CHAT, json=BODY)).status_code == 504
    read = await scraped(http)
    assert read.value("llm_server_request_timeouts_total", stage="ttft") == 1
    assert read.value("llm_server_requests_cancelled_total", cause="timeout") == 1
    assert read.value("llm_server_http_requests_total", route=CHAT, status="504") == 1
