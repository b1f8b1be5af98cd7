"""The systems under load, each a child process: the bare loop, this server, mlx_lm.server, and the engine's batch."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2

from llm_server.bench.load import Answer, Question

BARE: Final = "bare loop"
OURS: Final = "llm-server"
THEIRS: Final = "mlx_lm.server"

START_SECONDS: Final = 600.0
"""Long enough for compiling every kernel of a GPU."""

_POLL_SECONDS: Final = 0.1
_CONNECTS: Final = 50
_STOP_SECONDS: Final = 15.0
_LOG_SHOWN: Final = 2000


class BenchError(Exception):
    """A system did not start or did not answer."""


@dataclass(frozen=True, slots=True)
class BareLoop:
    """See `bare_loop`."""

    process: subprocess.Popen[str]
    name: str = BARE

    def answer(self, questions: Sequence[Question], max_tokens: int) -> list[Answer]:
        assert self.process.stdin is not None
        task = {"prompts": [question.tokens for question in questions], "max_tokens": max_tokens}
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()
        answers = zip(questions, json.loads(_line(self.process)), strict=True)
        return [Answer(len(question.tokens), tokens, seconds) for question, (tokens, seconds) in answers]


@dataclass(frozen=True, slots=True)
class GuardedBatch:
    """See `bench/guard_cost.py`."""

    process: subprocess.Popen[str]

    def speeds(self, streams: int, *, tokens: int, repeats: int) -> dict[str, list[float]]:
        """Tokens per second of each block of steps, by kind of guard."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"streams": streams, "tokens": tokens, "repeats": repeats}) + "\n")
        self.process.stdin.flush()
        measured: dict[str, list[float]] = json.loads(_line(self.process))
        return measured


@dataclass(frozen=True, slots=True)
class ChatServer:
    """A server of streamed chat completions. Its stream ends with a chunk that tells how many tokens there were."""

    name: str
    url: str
    model: str

    def answer(self, questions: Sequence[Question], max_tokens: int) -> list[Answer]:
        return asyncio.run(self._answer(questions, max_tokens))

    async def _answer(self, questions: Sequence[Question], max_tokens: int) -> list[Answer]:
        async with httpx2.AsyncClient(timeout=START_SECONDS, limits=httpx2.Limits(max_connections=None)) as client:
            started = time.perf_counter()
            streams = (self._stream(client, question, max_tokens, started) for question in questions)
            return list(await asyncio.gather(*streams))

    async def _stream(self, client: httpx2.AsyncClient, question: Question, max_tokens: int, started: float) -> Answer:
        """mlx_lm.server resets some of many connections that come at once; as any client does, this one tries again."""
        for _ in range(_CONNECTS):
            try:
                prompt, tokens = await self._tokens(client, question, max_tokens)
                return Answer(prompt, tokens, time.perf_counter() - started)
            except httpx2.NetworkError:
                await asyncio.sleep(_POLL_SECONDS)
        raise BenchError(f"it reset a connection {_CONNECTS} times")

    async def _tokens(self, client: httpx2.AsyncClient, question: Question, max_tokens: int) -> tuple[int, int]:
        usage: dict[str, int] = {}
        async with client.stream(
            "POST", f"{self.url}/v1/chat/completions", json=self._body(question, max_tokens)
        ) as reply:
            if reply.status_code != 200:
                raise BenchError(f"{self.name} answered {reply.status_code}: {(await reply.aread()).decode()[:300]}")
            async for line in reply.aiter_lines():
                if '"completion_tokens"' in line:
                    usage = json.loads(line.removeprefix("data:"))["usage"]
        if not usage:
            raise BenchError(f"{self.name} ended a stream without saying how many tokens it had")
        return usage["prompt_tokens"], usage["completion_tokens"]

    def _body(self, question: Question, max_tokens: int) -> dict[str, Any]:
        return {
            "model": self.model,
            "messages": [
                {"role": "system", "content": question.instructions},
                {"role": "user", "content": question.text},
            ],
            "temperature": 0,
            "reasoning_effort": "medium",
            "max_tokens": max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }


@contextmanager
def bare_loop(model: str, logs: Path) -> Iterator[BareLoop]:
    command = [sys.executable, "-m", "llm_server.bench.bare_loop", model]
    with _running(BARE, command, {}, logs, talks=True) as process:
        _line(process)
        yield BareLoop(process)


@contextmanager
def guarded_batch(model: str, logs: Path) -> Iterator[GuardedBatch]:
    command = [sys.executable, "-m", "llm_server.bench.guard_cost", model]
    with _running("guarded batch", command, {}, logs, talks=True) as process:
        _line(process)
        yield GuardedBatch(process)


@contextmanager
def this_server(model: str, streams: int, logs: Path) -> Iterator[ChatServer]:
    """`llm-server serve`, with its own supervisor, engine and one API worker."""
    port = _free_port()
    variables = {
        "LLM_MAX_CONCURRENCY": str(max(streams, 32)),
        "LLM_LOG_LEVEL": "warning",
        "LLM_STATE_DIR": str(logs / "state"),
        "LLM_REQUEST_TIMEOUT": str(START_SECONDS),
        "LLM_API_KEY": "",
    }
    command = [sys.executable, "-m", "llm_server", "serve", "--host", "127.0.0.1", "--port", str(port)]
    with _running(OURS, [*command, "--model", model], variables, logs) as process:
        url = _ready(process, OURS, port, "/readyz")
        name = httpx2.get(f"{url}/v1/models").json()["data"][0]["id"]
        yield ChatServer(OURS, url, name)


@contextmanager
def mlx_lm_server(folder: Path, streams: int, logs: Path) -> Iterator[ChatServer]:
    """mlx_lm.server with its own defaults, but for a batch as large as ours."""
    port = _free_port()
    command = [sys.executable, "-m", "mlx_lm", "server", "--model", str(folder), "--port", str(port)]
    command += ["--trust-remote-code", "--decode-concurrency", str(max(streams, 32))]
    with _running(THEIRS, command, {}, logs) as process:
        yield ChatServer(THEIRS, _ready(process, THEIRS, port, "/health"), "default_model")


@contextmanager
def _running(
    name: str, command: list[str], variables: dict[str, str], logs: Path, *, talks: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """A child process; one that `talks` has pipes. What it logs is shown when it fails."""
    with (logs / f"{name}.log").open("w+") as log:
        process = subprocess.Popen(
            command,
            env=os.environ | variables,
            stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
            stdout=subprocess.PIPE if talks else log,
            stderr=log,
            text=True,
        )
        try:
            yield process
        except (BenchError, OSError, httpx2.HTTPError) as error:
            log.seek(0)
            raise BenchError(f"{name} failed: {error!r}\n{log.read()[-_LOG_SHOWN:]}") from error
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.communicate(timeout=_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _ready(process: subprocess.Popen[str], name: str, port: int, path: str) -> str:
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx2.get(url + path).status_code == 200:
                return url
        except httpx2.TransportError:
            pass
        time.sleep(_POLL_SECONDS)
    raise BenchError(f"{name} did not start")


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    if not (line := process.stdout.readline()):
        raise BenchError("it has ended")
    return line


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
