"""One request's life, in reading order: render, admit, decode, parse.

The only place where Harmony and the engine meet. Knows no HTTP and no wire format; every API starts here with a
`GenerationRequest` and reads `Event`s.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from llm_server.client_markers import without_markers
from llm_server.conversation import Conversation, GenerationDefaults, GenerationRequest
from llm_server.engine.client import Engine, TokenStream
from llm_server.engine.types import Finished, Logprobs, ModelInfo, Started, Submit, Tokens
from llm_server.errors import (
    BadRequest,
    ContextTooLong,
    EngineUnavailable,
    GenerationFailed,
    RequestTimeout,
    ToolRefused,
)
from llm_server.events import (
    Alternative,
    BlockDelta,
    BlockStart,
    BlockStop,
    Event,
    Finish,
    FinishReason,
    TokenLogprob,
    Usage,
)
from llm_server.harmony.encoding import CALL, STOP_TOKENS, is_special, token_bytes
from llm_server.harmony.grammar import rules_to_try, turn_grammar
from llm_server.harmony.identifiers import Identifiers, identified, identified_conversation
from llm_server.harmony.messages import assistant_start, framed
from llm_server.harmony.parse import HarmonyParser
from llm_server.harmony.raw import unfinished
from llm_server.harmony.recall import Memory
from llm_server.harmony.recordings import Record, Recordings
from llm_server.harmony.render import Part, Prompt, render
from llm_server.harmony.repairs import Repair
from llm_server.harmony.seal import Sealer
from llm_server.harmony.transcript import TurnRecorder
from llm_server.harmony.trials import shared_trials
from llm_server.observation import Account, Observer, Outcome, Watch, unobserved
from llm_server.stop_strings import StopStrings

MAX_CORRECTIONS: Final = 2
"""How often a model may be told, within one request, that it can not call the tool that it called."""


class Generator:
    """Starts generations on one engine, and remembers what the model thought until its calls are answered.

    `request_timeout` in seconds covers queue, prefill and decode together. `seal_key` opens what other processes with
    the same key have sealed; None makes one that nobody else has. `guard`: what is decoded obeys a grammar.
    `recordings` keeps the tokens of every request, and `observe` counts. `keep_markers`: see `client_markers`.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        request_timeout: float,
        seal_key: bytes | None = None,
        guard: bool = True,
        recordings: Recordings | None = None,
        observe: Observer = unobserved,
        keep_markers: bool = False,
    ) -> None:
        self.memory = Memory(Sealer(seal_key or secrets.token_bytes(32)))
        self._engine = engine
        self._request_timeout = request_timeout
        self._guard = guard
        self._recordings = recordings
        self._observe = observe
        self._keep_markers = keep_markers

    @property
    def defaults(self) -> GenerationDefaults:
        """What holds for requests that do not say otherwise.

        Raises:
            EngineUnavailable: no model is loaded.
        """
        return self._model().defaults

    async def prompt(self, conversation: Conversation) -> Prompt:
        """The prompt that the conversation would be run with."""
        conversation, _ = identified_conversation(self._unmarked(conversation))
        return await asyncio.to_thread(render, conversation, self.memory)

    async def start(self, request: GenerationRequest) -> Generation:
        """Admit the request and return its events. A refusal is raised here, before any byte is sent.

        Raises:
            BadRequest: a bias on a token that is no text, or a schema that can not be enforced.
            ContextTooLong: the prompt leaves no room for an answer.
            Overloaded: the queue is full.
            EngineUnavailable: no engine is ready.
            RequestTimeout: it was not admitted in time.
        """
        watch = self._observe(request)
        try:
            return await self._start(request, watch)
        except BaseException as error:
            watch.refused(error)
            raise

    async def _start(self, request: GenerationRequest, watch: Watch) -> Generation:
        deadline = asyncio.get_running_loop().time() + self._request_timeout
        request, identifiers = identified(replace(request, conversation=self._unmarked(request.conversation)))
        prompt = await self._prompt(request)
        watch.rendered(len(prompt.tokens))
        model = self._model()
        request = _settled(request, model.defaults)
        room = _room(prompt, model.context_length)
        try:
            grammar = await self._grammar(replace(request, max_tokens=_limit(request.max_tokens, room)))
        except ToolRefused as refused:
            raise ToolRefused(identifiers.name(refused.tool), refused.why) from None
        watch.guarded()
        submission = _submission(request, prompt, grammar, room)
        try:
            async with asyncio.timeout_at(deadline):
                stream = await self._engine.submit(submission)
        except TimeoutError:
            raise _too_slow(self._request_timeout) from None
        watch.admitted(submission.max_tokens)
        return Generation(
            self._engine,
            stream,
            request,
            prompt,
            submission,
            self.memory,
            identifiers,
            watch,
            deadline=deadline,
            timeout=self._request_timeout,
            recordings=self._recordings,
        )

    def _unmarked(self, conversation: Conversation) -> Conversation:
        return conversation if self._keep_markers else without_markers(conversation)

    async def _prompt(self, request: GenerationRequest) -> Prompt:
        if request.raw is not None:
            return Prompt(request.raw, (Part("raw", 0),))
        return await asyncio.to_thread(render, request.conversation, self.memory)

    async def _grammar(self, request: GenerationRequest) -> str:
        """Off the event loop, and tried out elsewhere: a schema that takes too long costs its sender a refusal."""
        if not self._guard or request.raw is not None:
            return ""
        faults = await shared_trials().faults(await asyncio.to_thread(rules_to_try, request))
        return await asyncio.to_thread(turn_grammar, request, faults)

    def _model(self) -> ModelInfo:
        status = self._engine.status
        if status is None or status.model is None:
            raise EngineUnavailable("The model is still loading.", retry_after=2)
        return status.model


def _submission(request: GenerationRequest, prompt: Prompt, grammar: str, room: int) -> Submit:
    if is_special(max(request.sampling.logit_bias, default=0)):
        raise BadRequest("'logit_bias' holds an id that is no token of text.", param="logit_bias")
    return Submit(
        request_id=secrets.token_hex(16),
        prompt=list(prompt.tokens),
        max_tokens=min(request.max_tokens or room, room),
        stop_tokens=list(STOP_TOKENS),
        sampling=request.sampling,
        grammar=grammar,
        resumed_tokens=[CALL],
    )


def _settled(request: GenerationRequest, own: GenerationDefaults) -> GenerationRequest:
    """The request with what it leaves open as the model has it."""
    return replace(request, sampling=request.sampling.or_else(own), max_tokens=request.max_tokens or own.max_tokens)


def _room(prompt: Prompt, context_length: int) -> int:
    """How many tokens the context has left for the answer."""
    room = context_length - len(prompt.tokens)
    if room < 1:
        raise ContextTooLong(limit=context_length, prompt=len(prompt.tokens))
    return room


def _limit(asked: int | None, room: int) -> int:
    """How long an answer the grammar has to allow for: what was asked, or what the context has room for.

    The room is rounded down to its first two binary digits. It is another one in each turn, and each limit is a grammar
    that has to be compiled.
    """
    if asked is not None and asked <= room:
        return asked
    rest = max(room.bit_length() - 2, 0)
    return room >> rest << rest


@dataclass(frozen=True, slots=True)
class _Earlier:
    """What the attempts before the present one add up to."""

    blocks: int = 0
    reasoning_tokens: int = 0
    repairs: tuple[Repair, ...] = ()
    channel_tokens: Counter[str] = field(default_factory=Counter)

    def followed_by(self, parser: HarmonyParser, blocks: int) -> _Earlier:
        return _Earlier(
            blocks,
            self.reasoning_tokens + parser.reasoning_tokens,
            (*self.repairs, *parser.repairs),
            self.channel_tokens + Counter(parser.channel_tokens),
        )


class Generation:
    """The events of one admitted request: blocks, then `Finish`. Whoever holds it must close it.

    Iteration raises `EngineUnavailable` when the engine dies, `GenerationFailed` when it can not go on with this
    request, and `RequestTimeout` at the deadline.

    `cached_tokens` of the prompt were not computed again and `diverged_at` says where it left the known prompts (see
    `engine.types.Started`): both from before the first event on, and `stored_tokens`, which it has added to them.
    `finished` has the engine's timings after the end, those of the last attempt if there were corrections; None if the
    engine was left before its end.
    """

    def __init__(
        self,
        engine: Engine,
        stream: TokenStream,
        request: GenerationRequest,
        prompt: Prompt,
        submission: Submit,
        memory: Memory,
        identifiers: Identifiers,
        watch: Watch,
        *,
        deadline: float,
        timeout: float,
        recordings: Recordings | None = None,
    ) -> None:
        self.prompt_tokens = len(submission.prompt)
        self.corrections = 0
        self.cached_tokens = 0
        self.stored_tokens = 0
        self.diverged_at = -1
        self.finished: Finished | None = None
        self._engine = engine
        self._stream = stream
        self._messages = aiter(stream)
        self._prompt = prompt
        self._submission = submission
        self._tools = [tool.name for tool in request.callable_tools]
        self._freeform = [tool.name for tool in request.callable_tools if tool.freeform]
        self._call_prefix = request.call_prefix
        self._parser = self._new_parser()
        self._recorder = TurnRecorder(memory.sealer)
        self._transcripts = memory.transcripts
        self._identifiers = identifiers
        self._watch = watch
        self._stop = StopStrings(request.stop)
        self._deadline = deadline
        self._timeout = timeout
        self._recordings = recordings
        self._pending: deque[Event] = deque()
        self._turn: list[int] = []
        self._completion_tokens = 0
        self._earlier = _Earlier()
        self._answered = False
        self._blocks = 0
        self._account = Account(watch)
        self._finished = False
        self._is_raw = request.raw is not None
        self._context_bound = request.max_tokens is None or submission.max_tokens < request.max_tokens
        if request.raw is not None and (begun := self._parser.resume(unfinished(request.raw))):
            self._pending.extend(self._shown([begun]))

    def __aiter__(self) -> Generation:
        return self

    async def __anext__(self) -> Event:
        try:
            return await self._next()
        except StopAsyncIteration:
            raise
        except Exception as error:
            self._tell_end(None, error)
            raise

    async def _next(self) -> Event:
        while not self._pending:
            if self._finished:
                raise StopAsyncIteration
            message = await self._next_message()
            self._pending.extend(self._events(message))
            if isinstance(message, Finished):
                self._watch.left_engine(message)
            if isinstance(message, Finished) and not self._finished:
                self.finished = message
                await self._end_or_correct(message)
        return self._pending.popleft()

    async def aclose(self) -> None:
        """Free the request's slot, whatever it is doing. May be called at any time and again."""
        if not self._finished:
            self._finished = True
            self._record()
            self._tell_end(None)
        self._pending.clear()
        self._stream.close()

    async def _next_message(self) -> Started | Tokens | Finished:
        try:
            async with asyncio.timeout_at(self._deadline):
                return await anext(self._messages)
        except TimeoutError:
            self._stream.close()
            raise _too_slow(self._timeout) from None

    def _events(self, message: Started | Tokens | Finished) -> list[Event]:
        match message:
            case Started():
                self._note(message)
                return []
            case Tokens(tokens=tokens, logprobs=logprobs, stored_tokens=stored):
                self.stored_tokens += 0 if self.corrections else stored
                return self._decoded(tokens, logprobs)
            case Finished(reason="error", message=text):
                raise GenerationFailed(text or "The engine could not run this request.")
            case Finished(reason=reason):
                return self._shown(self._parser.finish(truncated=reason == "length"))

    def _note(self, started: Started) -> None:
        """A correction goes on with a prompt that is known but for its end, which says nothing of the caller's."""
        self._watch.started(started)
        if not self.corrections:
            self.cached_tokens, self.diverged_at = started.cached_tokens, started.diverged_at

    def _decoded(self, tokens: list[int], logprobs: list[Logprobs]) -> list[Event]:
        shown: list[Event] = []
        for position, token in enumerate(tokens):
            logprob = _token_logprob(token, logprobs[position]) if logprobs else None
            self._turn.append(token)
            self._completion_tokens += 1
            self._recorder.take(token)
            shown += self._shown(self._parser.feed(token, logprob))
            if self._stop.matched is not None:
                self._watch.decoded(position + 1)
                self._stream.close()
                return [*shown, self._finish()]
        self._watch.decoded(len(tokens))
        return shown

    async def _end_or_correct(self, finished: Finished) -> None:
        """A turn that ended with a call that is not possible goes on with an error as the call's result."""
        is_lost = finished.reason == "stop" and self._parser.finish_reason == "stop" and not self._answered
        correction = self._correction() if is_lost else None
        if correction is None:
            self._pending.append(self._finish())
            return
        self.corrections += 1
        self._earlier = self._earlier.followed_by(self._parser, self._blocks)
        self._parser = self._new_parser()
        try:
            async with asyncio.timeout_at(self._deadline):
                self._stream = await self._engine.submit(correction)
        except TimeoutError:
            raise _too_slow(self._timeout) from None
        self._messages = aiter(self._stream)

    def _correction(self) -> Submit | None:
        """What the engine is to go on with, or None if the model has had its chances or there is no room."""
        name = next(iter(self._parser.undeclared_calls), "")
        if not name or self._is_raw or self.corrections == MAX_CORRECTIONS:
            return None
        error = f"Error: {name} can not be called. The tools that can be called: {', '.join(self._tools) or 'none'}."
        self._turn += [*framed(f"{name} to=assistant", error, channel="commentary"), *assistant_start()]
        left = self._submission.max_tokens - len(self._turn)
        if left < 1:
            return None
        return msgspec.structs.replace(
            self._submission,
            request_id=secrets.token_hex(16),
            prompt=[*self._submission.prompt, *self._turn],
            max_tokens=left,
        )

    def _new_parser(self) -> HarmonyParser:
        return HarmonyParser(self._tools, new_call_id=self._new_call_id, freeform=self._freeform)

    def _new_call_id(self) -> str:
        return self._call_prefix + secrets.token_hex(12)

    def _shown(self, events: Iterable[Event]) -> list[Event]:
        return [self._told(self._recorder.read(shown)) for event in events for shown in self._stop.feed(event)]

    def _told(self, event: Event) -> Event:
        """The event with the tool's name as the caller knows it, numbered on from earlier attempts."""
        self._account.see(event)
        match event:
            case BlockStart(index, kind, preamble, _, identifier):
                self._answered |= kind == "text" and not preamble
                self._blocks = self._earlier.blocks + index + 1
                return replace(event, index=self._blocks - 1, tool_name=self._identifiers.name(identifier))
            case BlockDelta(index) | BlockStop(index):
                return replace(event, index=self._earlier.blocks + index)
        return event

    def _record(self) -> None:
        if self._recordings is not None:
            truncated = not self._turn or self._turn[-1] not in STOP_TOKENS
            record = Record(
                self._submission.request_id,
                self._tools,
                self._submission.prompt,
                self._turn,
                truncated,
                self._freeform,
                self._is_raw,
                self._stop.strings,
            )
            self._recordings.write(record)

    def _finish(self) -> Finish:
        self._finished = True
        self._record()
        if self._stop.matched is not None:
            finish = Finish("stop_sequence", self._usage(), self._stop.matched)
        else:
            self._remember()
            reason = self._parser.finish_reason
            finish = Finish(reason, self._usage(), context_full=reason == "length" and self._context_bound)
        self._tell_end(finish.reason)
        return finish

    def _usage(self) -> Usage:
        reasoning = self._earlier.reasoning_tokens + self._parser.reasoning_tokens
        return Usage(self.prompt_tokens, self.cached_tokens, self._completion_tokens, reasoning, self.stored_tokens)

    def _tell_end(self, reason: FinishReason | None, error: Exception | None = None) -> None:
        whole = self._earlier.followed_by(self._parser, self._blocks)
        outcome = Outcome(
            reason,
            self._usage(),
            whole.channel_tokens,
            [repair.kind for repair in whole.repairs],
            self.corrections,
            self._account.calls,
            self.diverged_at,
            self._prompt.part_at(self.diverged_at),
        )
        self._account.end(outcome, error)

    def _remember(self) -> None:
        """The calls will come back with their results, and the model is to see then what it thought."""
        turn = self._recorder.turn([*self._earlier.repairs, *self._parser.repairs])
        if turn is not None and self._parser.finish_reason == "tool_calls":
            self._transcripts.remember(turn)


def _token_logprob(token: int, logprobs: Logprobs) -> TokenLogprob:
    """Alternatives that are special tokens are left out: they are no text."""
    top = tuple(_alternative(other, logprob) for other, logprob in logprobs.top if not is_special(other))
    return TokenLogprob(_alternative(token, logprobs.chosen), top)


def _alternative(token: int, logprob: float) -> Alternative:
    raw = b"" if is_special(token) else token_bytes(token)
    return Alternative(raw.decode(errors="replace"), raw, logprob)


def _too_slow(seconds: float) -> RequestTimeout:
    return RequestTimeout(f"The request took longer than {seconds:g} s (LLM_REQUEST_TIMEOUT).")
