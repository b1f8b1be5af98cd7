"""Over a thousand requests of every kind at once: what the server has counted is what its clients saw, exactly.

The server is real, on a socket; its engine is scripted, so that each client knows what there was to see. The seed of
a request says what the engine makes of it.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal

import httpx2
import uvicorn

from clients import application
from exposed_metrics import Exposed
from fakes import Fail, Hang, Script, ScriptedEngine, ScriptedStream, Wait, message, next_message, reply, tool_call
from llm_server.engine.types import Submit
from llm_server.errors import Overloaded
from llm_server.harmony.encoding import END

CHAT: Final = "/v1/chat/completions"
MESSAGES: Final = "/v1/messages"
ROUNDS: Final = 60
AT_ONCE: Final = 32
CACHED: Final = 5
PATIENCE: Final = 120.0

THOUGHT: Final = [*message("analysis", "Hm.", END), *next_message()]
SPEAKING: Final = [*THOUGHT, *message("final", "Hello", END)[:-1]]
"""Up to the first word that a client sees."""

SCRIPTS: Final[dict[int, Script]] = {
    1: reply("Hm.", "Hello there."),
    2: tool_call("get_weather", '{"city": "Oslo"}'),
    3: [Fail()],
    4: [*SPEAKING, Fail()],
    6: [*SPEAKING, Hang()],
    7: reply("Hm.", "One. Two. Three."),
    8: message("final", "No end", END)[:-1],
}
REFUSED: Final = 9
READ: Final = 10
QUESTION: Final = [{"role": "user", "content": "Hello"}]
WEATHER: Final = {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}


class Reading(asyncio.Event):
    """An engine that reads a prompt, and never comes to its end. `begun` is set once it does."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()

    async def wait(self) -> Literal[True]:
        self.begun.set()
        return await super().wait()


class Engine(ScriptedEngine):
    """Refuses, too, where the seed says so. `reading`: endless prompts, by their requests' `max_tokens`."""

    def __init__(self) -> None:
        super().__init__(self._chosen, cached_tokens=CACHED)
        self.reading: defaultdict[int, Reading] = defaultdict(Reading)

    def _chosen(self, submission: Submit) -> Script:
        if submission.sampling.seed == READ:
            return [Wait(self.reading[submission.max_tokens])]
        return SCRIPTS[submission.sampling.seed or 1]

    async def submit(self, submission: Submit) -> ScriptedStream:
        if submission.sampling.seed == REFUSED:
            raise Overloaded("Too many requests are waiting already.", retry_after=1)
        return await super().submit(submission)


@dataclass
class Seen:
    """What all clients together have seen. `prompt` is the size of the prompt of a chat and of a message."""

    http: httpx2.AsyncClient
    engine: Engine
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    finishes: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    tokens: int = 0
    generations: int = 0
    shown: int = 0
    calls: int = 0
    left: Counter[str] = field(default_factory=Counter)
    broken: int = 0

    def generation(self, prompt: int, tokens: int, finish: str, *, shown: bool = True) -> None:
        """One whose first token has come."""
        self.prompt_tokens += prompt
        self.tokens += tokens
        self.generations += 1
        self.shown += shown
        self.finishes[finish] += 1

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        response = await self.http.post(path, json=body)
        self.answers[path, response.status_code] += 1
        return response.json()

    @asynccontextmanager
    async def stream(self, path: str, body: dict[str, Any]) -> AsyncIterator[AsyncIterator[Any]]:
        async with self.http.stream("POST", path, json={**body, "stream": True}) as response:
            self.answers[path, response.status_code] += 1
            lines = (line.removeprefix("data: ") async for line in response.aiter_lines() if line.startswith("data: "))
            yield (json.loads(line) async for line in lines if line != "[DONE]")


def chat(seed: int, **options: Any) -> dict[str, Any]:
    return {"model": "gpt-oss-20b", "messages": QUESTION, "seed": seed, "temperature": 1, **options}


def claude(**options: Any) -> dict[str, Any]:
    return {"model": "claude-test", "messages": QUESTION, "max_tokens": 100, **options}


async def whole_chat(seen: Seen, seed: int, finish: str, **options: Any) -> None:
    body = await seen.post(CHAT, chat(seed, **options))
    usage, choices = body["usage"], body["choices"]
    for choice in choices:
        assert choice["finish_reason"] == finish, body
        seen.calls += len(choice["message"].get("tool_calls") or [])
        shown = bool(choice["message"]["content"] or choice["message"].get("tool_calls"))
        tokens = usage["completion_tokens"] // len(choices)
        seen.generation(usage["prompt_tokens"], tokens, "length" if finish == "length" else "stop", shown=shown)
    assert usage["prompt_tokens_details"]["cached_tokens"] == CACHED


async def streamed_chat(seen: Seen) -> None:
    async with seen.stream(CHAT, chat(1, stream_options={"include_usage": True})) as chunks:
        *_, last = [chunk async for chunk in chunks]
    seen.generation(last["usage"]["prompt_tokens"], last["usage"]["completion_tokens"], "stop")


async def whole_message(seen: Seen) -> None:
    usage = (await seen.post(MESSAGES, claude()))["usage"]
    prompt = usage["input_tokens"] + usage["cache_read_input_tokens"]
    seen.generation(prompt, usage["output_tokens"], "stop")


async def streamed_message(seen: Seen) -> None:
    async with seen.stream(MESSAGES, claude()) as events:
        usages = [event["usage"] async for event in events if event["type"] == "message_delta"]
    (usage,) = usages
    prompt = usage["input_tokens"] + usage["cache_read_input_tokens"]
    seen.generation(prompt, usage["output_tokens"], "stop")


async def answered(seen: Seen, path: str, body: Any) -> None:
    """A refusal, or an error: the status says all."""
    await seen.post(path, body)


async def fails_before_a_token(seen: Seen) -> None:
    assert "error" in await seen.post(CHAT, chat(3))
    seen.finishes["error"] += 1


async def fails_in_the_stream(seen: Seen, prompt: int) -> None:
    async with seen.stream(CHAT, chat(4)) as chunks:
        *_, last = [chunk async for chunk in chunks]
    assert last["error"]["code"] == "engine_unavailable"
    seen.broken += 1
    seen.generation(prompt, len(SPEAKING), "error")


async def leaves_before_the_answer(seen: Seen) -> None:
    number = 1000 + len(seen.engine.reading)
    reading = seen.engine.reading[number]
    waiting = asyncio.create_task(seen.http.post(CHAT, json=chat(READ, max_tokens=number)))
    await reading.begun.wait()
    waiting.cancel()
    await asyncio.wait({waiting})
    seen.answers[CHAT, 499] += 1
    seen.left["prefill"] += 1
    seen.finishes["abort"] += 1


async def leaves_the_stream(seen: Seen, prompt: int) -> None:
    async with seen.stream(CHAT, chat(6)) as chunks:
        async for chunk in chunks:
            if chunk["choices"][0]["delta"].get("content"):
                break
    seen.left["decode"] += 1
    seen.generation(prompt, len(SPEAKING), "abort")


def kinds(prompt: int) -> list[Callable[[Seen], Coroutine[Any, Any, None]]]:
    """One request of each kind."""
    tools = [{"type": "function", "function": WEATHER}]
    return [
        partial(whole_chat, seed=1, finish="stop"),
        partial(whole_chat, seed=1, finish="stop", n=2),
        partial(whole_chat, seed=1, finish="length", max_tokens=3),
        partial(whole_chat, seed=2, finish="tool_calls", tools=tools),
        partial(whole_chat, seed=7, finish="stop", stop=["Three"]),
        partial(whole_chat, seed=8, finish="length"),
        streamed_chat,
        whole_message,
        streamed_message,
        partial(answered, path=CHAT, body=chat(REFUSED)),
        partial(answered, path=CHAT, body=chat(1, temperature="hot")),
        partial(answered, path=MESSAGES, body=[]),
        partial(answered, path=CHAT, body=chat(1, model="not-served")),
        partial(answered, path=MESSAGES + "/count_tokens", body=claude()),
        fails_before_a_token,
        partial(fails_in_the_stream, prompt=prompt),
        leaves_before_the_answer,
        partial(leaves_the_stream, prompt=prompt),
    ]


@asynccontextmanager
async def serving(engine: Engine) -> AsyncIterator[httpx2.AsyncClient]:
    """The application on a socket, and a client that reaches it."""
    config = uvicorn.Config(application(engine), port=0, log_config=None, lifespan="on")
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(PATIENCE):
            while not server.started:
                await asyncio.wait({running}, timeout=0.05)
        port = server.servers[0].sockets[0].getsockname()[1]
        limits = httpx2.Limits(max_connections=AT_ONCE * 2)
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, limits=limits) as client:
            yield client
    finally:
        server.should_exit = True
        await running


async def settled(seen: Seen) -> Exposed:
    """The metrics, once the server has noticed who has left."""
    async with asyncio.timeout(PATIENCE):
        while True:
            read = Exposed.of(await seen.http.get("/metrics"))
            ended = read.value("vllm:request_success_total")
            noticed = sum(sample.value for sample in read.samples("llm_server_http_requests_total", method="POST"))
            if ended == seen.finishes.total() and noticed == seen.answers.total():
                return read


async def everything() -> tuple[Seen, Exposed]:
    places = asyncio.Semaphore(AT_ONCE)
    engine = Engine()
    async with serving(engine) as http:
        seen = Seen(http, engine)
        first = await seen.post(CHAT, chat(1))
        prompt = first["usage"]["prompt_tokens"]
        seen.generation(prompt, first["usage"]["completion_tokens"], "stop")

        async def one(kind: Callable[[Seen], Coroutine[Any, Any, None]]) -> None:
            async with places:
                await kind(seen)

        async with asyncio.TaskGroup() as group:
            for _ in range(ROUNDS):
                for kind in kinds(prompt):
                    group.create_task(one(kind))
        return seen, await settled(seen)


async def test_the_counts_are_what_the_clients_saw() -> None:
    seen, read = await everything()
    assert seen.answers.total() > 1000
    answers = {
        (sample.labels["route"], int(sample.labels["status"])): sample.value
        for sample in read.samples("llm_server_http_requests_total", method="POST")
        if sample.value
    }
    assert answers == dict(seen.answers)
    finishes = {sample.labels["finished_reason"]: sample.value for sample in read.samples("vllm:request_success_total")}
    assert finishes == dict(seen.finishes)
    assert read.value("vllm:generation_tokens_total") == seen.tokens
    assert read.value("llm_server_harmony_tokens_total") == seen.tokens
    assert read.value("vllm:prompt_tokens_total") == seen.prompt_tokens
    assert read.value("vllm:prompt_tokens_by_source_total") == seen.prompt_tokens
    assert read.value("vllm:prompt_tokens_cached_total") == seen.generations * CACHED
    assert read.value("vllm:time_to_first_token_seconds_count") == seen.generations
    assert read.value("vllm:inter_token_latency_seconds_count") == seen.tokens - seen.generations
    assert read.value("llm_server_time_to_first_output_seconds_count") == seen.shown
    assert read.value("llm_server_tool_calls_total") == seen.calls
    for phase in ("queue", "prefill", "decode"):
        left = read.value("llm_server_requests_cancelled_total", phase=phase, cause="disconnect")
        assert left == seen.left[phase], phase
    assert read.value("llm_server_requests_cancelled_total") == seen.left.total()
    assert read.value("llm_server_stream_errors_total") == seen.broken
    assert read.value("vllm:admission_rejections_total", reason="queue_full") == seen.answers[CHAT, 429]
    assert read.value("vllm:admission_rejections_total", reason="engine_down") == seen.answers[CHAT, 503]
