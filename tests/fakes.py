"""Working stand-ins for the engine, and model replies written as the tokens that gpt-oss would generate.

`ScriptedEngine` admits, streams, refuses, fails and hangs as the real engine does, and remembers what it was asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from msgspec.structs import replace

from llm_server.engine.types import EngineFinishReason, Finished, Logprobs, ModelInfo, Started, Status, Submit, Tokens
from llm_server.errors import EngineUnavailable, ServerError
from llm_server.harmony.encoding import CALL, CHANNEL, CONSTRAIN, END, MESSAGE, RETURN, START, harmony_encoding

MODEL = ModelInfo("gpt-oss-test", 4096, "none", "cpu", 1_000_000, 4_000_000)
READY = Status("engine-1", "ready", MODEL, 0, 0)
LONG = replace(READY, model=replace(MODEL, context_length=131_072))
"""With as long a context as the real model has."""

LOADING = Status("engine-1", "loading", None, 0, 0)


@dataclass(frozen=True, slots=True)
class Fail:
    """The engine fails here, with the error that its client would raise."""

    error: ServerError = field(default_factory=lambda: EngineUnavailable("The engine has stopped."))


@dataclass(frozen=True, slots=True)
class Hang:
    """Nothing more comes until the request is closed."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing more comes until this is set."""

    until: asyncio.Event


Step: TypeAlias = int | Fail | Hang | Wait
Script: TypeAlias = Sequence[Step]


def text_tokens(text: str) -> list[int]:
    """Ordinary text as tokens, never special ones."""
    return list(harmony_encoding().encode(text, disallowed_special=()))


def message(channel: str, text: str, end: int, recipient: str = "") -> list[int]:
    """One message after `<|start|>assistant`: header, body and the token that ends it."""
    header = [CHANNEL, *text_tokens(channel + (f" to={recipient} " if recipient else ""))]
    constrain = [CONSTRAIN, *text_tokens("json")] if recipient else []
    return [*header, *constrain, MESSAGE, *text_tokens(text), end]


def next_message() -> list[int]:
    """What stands between two messages of one turn."""
    return [START, *text_tokens("assistant")]


def reply(analysis: str, final: str) -> list[int]:
    """A turn that thinks and answers."""
    return [*message("analysis", analysis, END), *next_message(), *message("final", final, RETURN)]


def tool_call(name: str, arguments: str, *, analysis: str = "A tool is needed.", preamble: str = "") -> list[int]:
    """A turn that thinks, perhaps says something, and calls a tool."""
    said = [*message("commentary", preamble, END), *next_message()] if preamble else []
    call = message("commentary", arguments, CALL, f"functions.{name}")
    return [*message("analysis", analysis, END), *next_message(), *said, *call]


class ScriptedEngine:
    """An engine that replays token ids, given once for all or by a function of the submission.

    It ends a request at a stop token or at `max_tokens`, as the real one does. `refusal` is raised by `submit`.
    `burst` is how many tokens travel in one message. `submissions` and `closed` (request ids) record what happened;
    `hanging` is set once any request has come to a `Hang`, `closing` once any was closed before its end.
    """

    def __init__(
        self,
        script: Script | Callable[[Submit], Script] = (),
        *,
        status: Status | None = READY,
        refusal: ServerError | None = None,
        burst: int = 1,
        cached_tokens: int = 0,
        stored_tokens: int = 0,
        diverged_at: int = -1,
    ) -> None:
        self.status = status
        self.refusal = refusal
        self.burst = burst
        self.cached_tokens = cached_tokens
        self.stored_tokens = stored_tokens
        self.diverged_at = diverged_at
        self.submissions: list[Submit] = []
        self.closed: list[str] = []
        self.hanging = asyncio.Event()
        self.closing = asyncio.Event()
        self._script = script

    @property
    def running(self) -> int:
        """Requests that still hold a slot."""
        return len(self.submissions) - len(self.closed)

    async def submit(self, submission: Submit) -> ScriptedStream:
        if self.refusal is not None:
            raise self.refusal
        if self.status is None or self.status.state != "ready":
            raise EngineUnavailable("The engine is not ready.", retry_after=1)
        self.submissions.append(submission)
        script = self._script(submission) if callable(self._script) else self._script
        return ScriptedStream(self, submission, script)


class ScriptedStream:
    """One request of a `ScriptedEngine`."""

    def __init__(self, engine: ScriptedEngine, submission: Submit, script: Script) -> None:
        self._engine = engine
        self._submission = submission
        self._script = script
        self._closed = asyncio.Event()

    def close(self) -> None:
        if not self._closed.is_set():
            self._closed.set()
            self._engine.closed.append(self._submission.request_id)
            self._engine.closing.set()

    async def __aiter__(self) -> AsyncIterator[Started | Tokens | Finished]:
        yield Started(self._submission.request_id, 0.0, self._engine.cached_tokens, self._engine.diverged_at)
        burst: list[int] = []
        stored = self._engine.stored_tokens
        for step in self._steps():
            match step:
                case int():
                    burst.append(step)
                case Fail(error):
                    raise error
                case Hang():
                    self._engine.hanging.set()
                    await self._closed.wait()
                case Wait(until):
                    await until.wait()
            if len(burst) == self._engine.burst:
                await asyncio.sleep(0)
                yield self._tokens(burst, stored)
                burst, stored = [], 0
        if burst:
            yield self._tokens(burst, stored)
        yield self._finished()

    def _steps(self) -> Script:
        """The script as far as a stop token or the limit."""
        steps: list[Step] = []
        for step in self._script[: self._submission.max_tokens]:
            steps.append(step)
            if step in self._submission.stop_tokens:
                break
        return steps

    def _tokens(self, tokens: list[int], stored: int) -> Tokens:
        wanted = self._submission.sampling.top_logprobs
        logprobs = [] if wanted is None else [_logprobs(token, wanted) for token in tokens]
        return Tokens(self._submission.request_id, tokens, logprobs, stored)

    def _finished(self) -> Finished:
        steps = self._steps()
        stopped = bool(steps) and steps[-1] in self._submission.stop_tokens
        if not self._closed.is_set():
            self._closed.set()
            self._engine.closed.append(self._submission.request_id)
        reason: EngineFinishReason = "stop" if stopped else "length"
        return Finished(self._submission.request_id, reason, self._engine.cached_tokens, 0.0, 0.0, 0.0)


def _logprobs(token: int, alternatives: int) -> Logprobs:
    """The chosen token is the likeliest, and the ordinary tokens after it by id are the next ones."""
    top = [(token + place if token < 100_000 else token - place, -0.5 - place) for place in range(alternatives)]
    return Logprobs(-0.5, top)
