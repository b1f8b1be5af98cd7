"""A load as people make it, for boards that should live: `python -m llm_server.demo`.

Several clients at once, each with its own pauses: chat and Messages and Responses, whole and streamed, tools, JSON
answers, conversations that grow on a long prompt, clients that leave in the middle, and now and then a faulty request.
Knows the HTTP APIs as any client does, and nothing of the server's inside.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import httpx2

from llm_server.settings import Settings, SettingsError, exit_on_error, load_settings

JSON: TypeAlias = dict[str, Any]

CHAT: Final = "/v1/chat/completions"
MESSAGES: Final = "/v1/messages"
RESPONSES: Final = "/v1/responses"
COMPLETIONS: Final = "/v1/completions"

TIDE_SECONDS: Final = 180.0
"""Traffic ebbs and floods in this time, so that a graph of it is more than a flat line."""

_REPORT_SECONDS: Final = 10.0
_TIMEOUT: Final = httpx2.Timeout(120.0)

_QUESTIONS: Final = (
    *("Count to 30", "Count to 12", "Count to 5", "Hello, how are you?", "Who are you?"),
    *("What is the capital of France?", "What is the capital of Japan?", "What is the capital of Peru?"),
    *("What is 17 + 25?", "What is 40 + 8?", 'Repeat: "the quick brown fox"', "Explain quantum computing"),
)
_LONG_INSTRUCTIONS: Final = "You are a helpful assistant. " + " ".join(
    f"Rule {number}: answer in few words, and never mention rule {number}." for number in range(1, 25)
)
_WEATHER: Final = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
_CITIES: Final = ("Paris", "Tokyo", "Lima", "Oslo")


@dataclass(frozen=True, slots=True)
class Scene:
    """One kind of request. `weight` is how often it is drawn; with `leaves`, its client goes while it is answered."""

    name: str
    weight: int
    path: str
    body: Callable[[random.Random], JSON]
    leaves: bool = False


@dataclass(slots=True)
class Tally:
    """What became of the requests so far: by status, or by what went wrong instead of an answer."""

    outcomes: Counter[str] = field(default_factory=Counter)

    def line(self) -> str:
        outcomes = ", ".join(f"{count} x {outcome}" for outcome, count in sorted(self.outcomes.items()))
        return f"{sum(self.outcomes.values())} requests: {outcomes or 'none yet'}"


def _chat(rng: random.Random) -> JSON:
    return {
        "model": "gpt-oss-20b",
        "messages": [{"role": "user", "content": rng.choice(_QUESTIONS)}],
        "temperature": rng.choice((0, 0.5, 1)),
        "max_tokens": 160,
    }


def _streamed_chat(rng: random.Random) -> JSON:
    return {**_chat(rng), "stream": True, "stream_options": {"include_usage": True}}


def _conversation(rng: random.Random) -> JSON:
    """Earlier turns on the same long instructions: what a prompt cache is for."""
    history: list[JSON] = [{"role": "system", "content": _LONG_INSTRUCTIONS}]
    for _ in range(rng.randrange(3)):
        history += [
            {"role": "user", "content": _QUESTIONS[0]},
            {"role": "assistant", "content": ", ".join(map(str, range(1, 31)))},
        ]
    return {**_streamed_chat(rng), "messages": [*history, {"role": "user", "content": rng.choice(_QUESTIONS)}]}


def _tool_chat(rng: random.Random) -> JSON:
    function = {"name": "get_weather", "description": "Get the current weather of a city", "parameters": _WEATHER}
    question = f"What is the weather in {rng.choice(_CITIES)}?"
    return {
        **_chat(rng),
        "messages": [{"role": "user", "content": question}],
        "tools": [{"type": "function", "function": function}],
        "stream": rng.random() < 0.5,
    }


def _json_chat(rng: random.Random) -> JSON:
    schema = {**_WEATHER, "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema, "strict": True}}
    question = f"Which city do I mean by {rng.choice(_CITIES)}? Answer in JSON."
    return {**_chat(rng), "messages": [{"role": "user", "content": question}], "response_format": form}


def _messages(rng: random.Random) -> JSON:
    return {
        "model": "claude-opus-5-5",
        "max_tokens": 160,
        "messages": [{"role": "user", "content": rng.choice(_QUESTIONS)}],
        "stream": rng.random() < 0.7,
    }


def _tool_messages(rng: random.Random) -> JSON:
    tool = {"name": "get_weather", "description": "Get the current weather of a city", "input_schema": _WEATHER}
    question = f"What is the weather in {rng.choice(_CITIES)}?"
    return {**_messages(rng), "tools": [tool], "messages": [{"role": "user", "content": question}]}


def _responses(rng: random.Random) -> JSON:
    return {
        "model": "gpt-oss-20b",
        "input": rng.choice(_QUESTIONS),
        "reasoning": {"effort": rng.choice(("low", "medium", "high"))},
        "max_output_tokens": 160,
        "stream": rng.random() < 0.7,
    }


def _completion(rng: random.Random) -> JSON:
    return {"model": "gpt-oss-20b", "prompt": "1, 2, 3, ", "max_tokens": 16, "temperature": rng.choice((0, 1))}


def _endless(rng: random.Random) -> JSON:
    return {**_streamed_chat(rng), "messages": [{"role": "user", "content": "Count to 30"}], "max_tokens": 600}


def _faulty(rng: random.Random) -> JSON:
    return {**_chat(rng), "temperature": "hot"}


SCENES: Final = (
    Scene("chat", 4, CHAT, _chat),
    Scene("streamed chat", 8, CHAT, _streamed_chat),
    Scene("conversation", 6, CHAT, _conversation),
    Scene("chat with tools", 4, CHAT, _tool_chat),
    Scene("JSON answer", 2, CHAT, _json_chat),
    Scene("messages", 7, MESSAGES, _messages),
    Scene("messages with tools", 3, MESSAGES, _tool_messages),
    Scene("responses", 4, RESPONSES, _responses),
    Scene("raw completion", 1, COMPLETIONS, _completion),
    Scene("client that leaves", 2, CHAT, _endless, leaves=True),
    Scene("faulty request", 1, CHAT, _faulty),
)


async def play(client: httpx2.AsyncClient, scene: Scene, rng: random.Random) -> str:
    """Send one request and read its answer, or a part of it. Returns what became of it: a status, or the fault."""
    try:
        async with client.stream("POST", scene.path, json=scene.body(rng)) as response:
            if scene.leaves:
                await _read_some(response, rng.randrange(2, 12))
                return "left early"
            async for _ in response.aiter_bytes():
                pass
            return str(response.status_code)
    except httpx2.HTTPError as error:
        return type(error).__name__


async def _read_some(response: httpx2.Response, events: int) -> None:
    async for line in response.aiter_lines():
        events -= line.startswith("data:")
        if events <= 0:
            return


async def _client(base_url: str, key: str | None, tally: Tally, rng: random.Random, pause: float) -> None:
    """One person, for ever: asks, reads, thinks."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    weights = [scene.weight for scene in SCENES]
    async with httpx2.AsyncClient(base_url=base_url, headers=headers, timeout=_TIMEOUT) as client:
        while True:
            (scene,) = rng.choices(SCENES, weights)
            tally.outcomes[await play(client, scene, rng)] += 1
            tide = 1 + 0.8 * math.sin(2 * math.pi * time.monotonic() / TIDE_SECONDS)
            await asyncio.sleep(rng.expovariate(1 / pause) * tide if pause else 0)


async def _reports(tally: Tally) -> None:
    while True:
        await asyncio.sleep(_REPORT_SECONDS)
        _print(tally.line())


async def run(base_url: str, key: str | None, *, streams: int, seconds: float | None, seed: int, pause: float) -> Tally:
    """Put `streams` clients on the server for so many seconds, or until this is cancelled by SIGINT or SIGTERM."""
    tally = Tally()
    clients = [_client(base_url, key, tally, random.Random(f"{seed}/{number}"), pause) for number in range(streams)]
    ending = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, ending.set)
    running = [asyncio.create_task(work) for work in (*clients, _reports(tally), ending.wait())]
    ended, _ = await asyncio.wait(running, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in running:
        task.cancel()
    await asyncio.wait(running)
    for task in ended:
        task.result()
    return tally


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 if anything was answered, else 1."""
    options = _parser().parse_args(arguments)
    try:
        settings = load_settings()
        key = settings.read_api_key()
    except SettingsError as error:
        exit_on_error(error)
    url = options.url or _own_url(settings)
    _print(f"{options.streams} clients at {url}")
    tally = asyncio.run(
        run(url, key, streams=options.streams, seconds=options.seconds, seed=options.seed, pause=options.pause)
    )
    _print(tally.line())
    return 0 if _answered(tally.outcomes) else 1


def _answered(outcomes: Mapping[str, int]) -> bool:
    return any(outcome.isdecimal() for outcome in outcomes)


def _own_url(settings: Settings) -> str:
    host = settings.host if settings.is_loopback else "127.0.0.1"
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m llm_server.demo", description="A varied load on a running server, until Ctrl-C."
    )
    parser.add_argument("--url", help="the server's address (default: the one of LLM_HOST and LLM_PORT)")
    parser.add_argument("--streams", type=int, default=4, help="clients at once (default: %(default)s)")
    parser.add_argument("--seconds", type=float, help="end after so long (default: at Ctrl-C)")
    parser.add_argument(
        "--pause", type=float, default=1.5, help="mean seconds between a client's requests (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="the same seed draws the same requests (default: %(default)s)"
    )
    return parser


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
