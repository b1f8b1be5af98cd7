"""Traces, as a collector receives them: over gRPC and over HTTP, of answers, failures and clients who leave."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any

import httpx2
import pytest

from clients import application, async_client
from exposed_metrics import OPENMETRICS_ACCEPT, Exposed
from fakes import Fail, Hang, Script, ScriptedEngine, message, reply
from llm_server.harmony.encoding import END
from llm_server.settings import SettingsError, traces_protocol
from otlp_receiver import Collector, grpc_collector, http_collector
from processes import wait_until

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
UNSAMPLED = f"00-{TRACE}-{PARENT}-00"
QUESTION = [{"role": "user", "content": "What is the secret?"}]
BODY: dict[str, Any] = {"model": "gpt-oss-20b", "messages": QUESTION, "max_tokens": 50, "temperature": 0.5, "seed": 3}
PHASES = ["render", "grammar", "admission", "queue", "prefill", "decode"]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """OpenTelemetry's variables as the test sets them, and spans that are sent at once."""
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    return monkeypatch


@pytest.fixture(params=[(grpc_collector, "grpc"), (http_collector, "http/protobuf")], ids=["grpc", "http"])
def collector(request: pytest.FixtureRequest, environment: pytest.MonkeyPatch) -> Iterator[Collector]:
    start: Callable[[], AbstractContextManager[Collector]]
    start, protocol = request.param
    with start() as running:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.endpoint)
        environment.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        yield running


def engine(script: Script) -> ScriptedEngine:
    return ScriptedEngine(script, cached_tokens=4, diverged_at=10)


@asynccontextmanager
async def client(script: Script | ScriptedEngine) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of an application that runs: tracers are made when it starts."""
    app = application(script if isinstance(script, ScriptedEngine) else engine(script))
    async with app.router.lifespan_context(app), async_client(app) as http:
        yield http


async def post(http: httpx2.AsyncClient, **changes: Any) -> httpx2.Response:
    return await http.post("/v1/chat/completions", json={**BODY, **changes}, headers={"traceparent": TRACEPARENT})


async def test_a_trace_tells_where_the_time_went(collector: Collector) -> None:
    async with client(reply("Hm.", "Hello")) as http:
        answer = (await post(http)).json()
    spans = collector.trace(8)
    server, chat = spans["POST /v1/chat/completions"], spans["chat gpt-oss-test"]
    assert (server.trace_id, server.parent_id, server.kind, server.failed) == (TRACE, PARENT, "SERVER", False)
    assert server.resource["service.name"] == "llm-server"
    assert server.attributes["http.response.status_code"] == 200
    assert server.attributes["http.route"] == "/v1/chat/completions"
    assert (chat.parent_id, chat.kind) == (server.span_id, "INTERNAL")
    usage = answer["usage"]
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.max_tokens": 50,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.seed": 3,
        "gen_ai.usage.input_tokens": usage["prompt_tokens"],
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.output_tokens": usage["completion_tokens"],
        "gen_ai.usage.reasoning.output_tokens": usage["completion_tokens_details"]["reasoning_tokens"],
        "gen_ai.response.finish_reasons": ["stop"],
        "llm_server.diverged_at": 10,
        "llm_server.diverged_in": "system",
    }
    assert expected.items() <= chat.attributes.items()
    assert [spans[name].parent_id for name in PHASES] == [chat.span_id] * len(PHASES)
    assert spans["prefill"].attributes["gen_ai.usage.cache_read.input_tokens"] == 4
    assert spans["decode"].attributes["gen_ai.usage.output_tokens"] == usage["completion_tokens"]


async def test_spans_lie_within_each_other_and_follow_each_other(collector: Collector) -> None:
    before = time.time_ns()
    async with client(reply("Hm.", "Hello")) as http:
        await post(http)
    spans = collector.trace(8)
    server, chat = spans["POST /v1/chat/completions"], spans["chat gpt-oss-test"]
    phases = [spans[name] for name in PHASES]
    moments = [
        before,
        server.start,
        chat.start,
        *(phase.start for phase in phases),
        chat.end,
        server.end,
        time.time_ns(),
    ]
    assert moments == sorted(moments)
    assert [phase.end for phase in phases[:-1]] == [phase.start for phase in phases[1:]]
    assert phases[-1].end == chat.end
    assert chat.events["first_token"] == spans["decode"].start


async def test_a_stream_has_no_more_spans_than_a_whole_answer(collector: Collector) -> None:
    async with client(reply("Hm.", "Hello, " * 50)) as http:
        response = await post(http, stream=True, max_tokens=500)
        assert response.text.count("data: ") > 50
    assert collector.trace(8)["chat gpt-oss-test"].attributes["gen_ai.request.stream"] is True


async def test_each_choice_is_a_generation(collector: Collector) -> None:
    async with client(reply("Hm.", "Hello")) as http:
        await post(http, n=3)
    names = [span.name for span in collector.spans]
    assert names.count("chat gpt-oss-test") == 3
    assert names.count("POST /v1/chat/completions") == 1


@pytest.mark.parametrize(("stream", "status"), [(False, 503), (True, 200)])
async def test_a_failure_is_seen_in_the_trace(collector: Collector, stream: bool, status: int) -> None:
    async with client([*message("analysis", "Hm.", END), Fail()]) as http:
        assert (await post(http, stream=stream)).status_code == status
    spans = collector.trace(8)
    for name in ("POST /v1/chat/completions", "chat gpt-oss-test"):
        assert (spans[name].failed, spans[name].attributes["error.type"]) == (True, "engine_unavailable")


async def test_a_refusal_has_a_trace_and_is_no_failure_of_the_server(collector: Collector) -> None:
    async with client(reply("Hm.", "Hello")) as http:
        assert (await post(http, temperature="hot")).status_code == 400
    (server,) = collector.trace(1).values()
    assert (server.failed, server.attributes["error.type"]) == (False, "invalid_request")


async def test_what_is_wrong_with_a_schema_is_told_to_its_sender_alone(collector: Collector) -> None:
    form = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: KUMQUAT"}}
    async with client(reply("Hm.", "Hello")) as http:
        answer = await post(http, tools=[{"type": "custom", "custom": {"name": "say", "format": form}}])
    assert answer.status_code == 400
    assert "KUMQUAT" in answer.json()["error"]["message"]
    (server,) = collector.trace(1).values()
    assert server.attributes["error.type"] == "invalid_request"
    assert b"KUMQUAT" not in collector.raw


async def test_a_generation_that_is_given_up_says_so(collector: Collector) -> None:
    hanging = engine([Hang()])
    async with client(hanging) as http:
        asking = asyncio.create_task(post(http))
        await hanging.hanging.wait()
        asking.cancel()
        await asyncio.wait({asking})
    spans = collector.trace(7)
    assert "decode" not in spans
    assert spans["chat gpt-oss-test"].attributes["error.type"].startswith("cancelled_")
    assert "gen_ai.response.finish_reasons" not in spans["chat gpt-oss-test"].attributes


async def test_latencies_have_the_trace_as_their_exemplar(collector: Collector) -> None:
    async with client(reply("Hm.", "Hello")) as http:
        await post(http)
        read = Exposed.of(await http.get("/metrics", headers={"accept": OPENMETRICS_ACCEPT}))
    collector.trace(8)
    for name in (
        "vllm:time_to_first_token_seconds",
        "vllm:inter_token_latency_seconds",
        "vllm:e2e_request_latency_seconds",
    ):
        exemplars = [sample.exemplar for sample in read.samples(f"{name}_bucket") if sample.exemplar]
        assert [exemplar.labels for exemplar in exemplars] == [{"trace_id": TRACE}], name


async def test_a_trace_that_its_caller_does_not_keep_is_not_sent(collector: Collector) -> None:
    async with client(reply("Hm.", "Hello")) as http:
        await http.post("/v1/chat/completions", json=BODY, headers={"traceparent": UNSAMPLED})
        read = await http.get("/metrics", headers={"accept": OPENMETRICS_ACCEPT})
    assert collector.spans == []
    assert TRACE not in read.text


async def test_probes_are_not_traced(collector: Collector) -> None:
    async with client(reply("Hm.", "Hello")) as http:
        for path in ("/livez", "/readyz", "/health", "/metrics"):
            assert (await http.get(path)).status_code == 200
        await post(http, temperature="hot")
    assert list(collector.trace(1)) == ["POST /v1/chat/completions"]


async def test_without_a_collector_in_the_environment_nothing_is_traced(environment: pytest.MonkeyPatch) -> None:
    assert traces_protocol() is None
    environment.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    async with client(reply("Hm.", "Hello")) as http:
        assert (await post(http)).status_code == 200
        read = await http.get("/metrics", headers={"accept": OPENMETRICS_ACCEPT})
    assert "trace_id" not in read.text


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
async def test_a_collector_that_is_away_costs_one_line_in_the_log(
    environment: pytest.MonkeyPatch, protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    environment.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    environment.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    with caplog.at_level(logging.WARNING):
        async with client(reply("Hm.", "Hello")) as http:
            for _ in range(3):
                assert (await post(http)).status_code == 200
                await asyncio.to_thread(wait_until, lambda: caplog.records)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ["traces can not be delivered to the collector"]


@pytest.mark.parametrize(
    ("variables", "protocol"),
    [
        ({}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317"}, "grpc"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "http/protobuf"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, "http/protobuf"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "grpc"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_SDK_DISABLED": "TRUE"}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_TRACES_EXPORTER": "none"}, None),
    ],
)
def test_opentelemetrys_own_variables_decide(
    environment: pytest.MonkeyPatch, variables: dict[str, str], protocol: str | None
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    assert traces_protocol() == protocol


def test_a_protocol_that_is_not_spoken_is_said(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317")
    environment.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
    with pytest.raises(SettingsError, match="http/json"):
        traces_protocol()
