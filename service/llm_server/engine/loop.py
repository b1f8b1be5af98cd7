"""The engine's loop: drain → admit → step → publish. Token ids in, token ids out.

Knows no MLX, no sockets, no signals and no text: a decoder, a channel and a scheduler are given to it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import msgspec

from llm_server.engine.channel import Channel
from llm_server.engine.decoder import Decoded, Decoder, Inserted
from llm_server.engine.scheduler import Scheduler
from llm_server.engine.types import (
    Abort,
    Admitted,
    EngineFinishReason,
    EngineState,
    EngineStatistics,
    Finished,
    Hello,
    ModelInfo,
    Phase,
    RefusalReason,
    Refused,
    Started,
    Status,
    StepStats,
    Submit,
    ToEngine,
    Tokens,
)

logger = logging.getLogger(__name__)

BEAT_SECONDS: Final = 0.5
"""How often `Status` is sent, and how long an idle loop sleeps at most."""

PREPARE_SECONDS: Final = 0.001
"""How often an idle loop asks whether a request is ready to run, while one is not."""

USUAL_ANSWER: Final = 4096
"""Tokens that room is kept for, of requests that may say more; what is longer takes its room as it grows."""

Key: TypeAlias = tuple[bytes, str]
"""A client and its request id: two clients may choose the same id."""


class Observer(Protocol):
    """Who wants to know what the engine does, be it to count. Called by the loop itself, so each call must be short."""

    def step(self, stats: StepStats) -> None:
        """A step has succeeded."""

    def beat(self, statistics: EngineStatistics) -> None:
        """How things are, each time that the clients are told the engine's status."""

    def cancelled(self, phase: Phase, seconds: float | None) -> None:
        """A request was given up in `phase`; its slot is free `seconds` later, None if nobody knows."""


class _Nobody:
    def step(self, stats: StepStats) -> None:
        pass

    def beat(self, statistics: EngineStatistics) -> None:
        pass

    def cancelled(self, phase: Phase, seconds: float | None) -> None:
        pass


@dataclass(slots=True)
class _Request:
    submission: Submit
    submitted: float
    started: float | None = None
    first_token: float | None = None
    sequence: int | None = None
    cached_tokens: int = 0
    decoded_tokens: int = 0

    @property
    def tokens(self) -> int:
        """How many it will have in the end, as far as one can tell now."""
        answer = (self.decoded_tokens // USUAL_ANSWER + 1) * USUAL_ANSWER
        return len(self.submission.prompt) + min(self.submission.max_tokens, answer)

    @property
    def phase(self) -> Phase:
        if self.first_token is not None:
            return "decode"
        return "queue" if self.sequence is None else "prefill"

    def start(self, inserted: Inserted, now: float) -> Started:
        self.started = now
        self.sequence = inserted.sequence
        self.cached_tokens = inserted.cached_tokens
        queue_seconds = now - self.submitted
        return Started(self.submission.request_id, queue_seconds, inserted.cached_tokens, inserted.diverged_at)

    def finished(self, now: float, reason: EngineFinishReason, message: str) -> Finished:
        """The last message. A request that never got as far as a phase spent no time in it."""
        started = now if self.started is None else self.started
        first_token = now if self.first_token is None else self.first_token
        return Finished(
            self.submission.request_id,
            reason,
            self.cached_tokens,
            queue_seconds=started - self.submitted,
            prefill_seconds=first_token - started,
            decode_seconds=now - first_token,
            message=message,
        )


class Loop:
    """Serves one model to all clients until it is told to drain.

    `observer` is told of steps, beats and cancellations. A step that fails costs the requests in flight an error; if
    the decoder can not be reset after it, `run` raises what the decoder raised, and only a new process helps.
    """

    def __init__(
        self,
        decoder: Decoder,
        channel: Channel,
        scheduler: Scheduler[Key],
        *,
        incarnation: str,
        model: ModelInfo,
        observer: Observer | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._decoder = decoder
        self._channel = channel
        self._scheduler = scheduler
        self._incarnation = incarnation
        self._model = model
        self._observer = observer or _Nobody()
        self._clock = clock
        self._requests: dict[Key, _Request] = {}
        self._by_sequence: dict[int, Key] = {}
        self._preparing: dict[Key, None] = {}
        self._drain_until: float | None = None
        self._next_beat = clock()
        self._announced_draining = False

    def run(self) -> None:
        """Turn until everything has finished after `drain`."""
        while not self._drained():
            self.turn()

    def drain(self, seconds: float) -> None:
        """Refuse new requests from now on, and end when those admitted have finished, or after `seconds`.

        May be called from a signal handler.
        """
        self._drain_until = self._clock() + seconds

    def turn(self) -> None:
        """One round. Waits for messages only while there is nothing to decode.

        A step that reads a long prompt takes seconds, so what can be said before it is not said after it.
        """
        self._drain()
        self._admit()
        self._send()
        self._step()
        self._publish()

    def _drained(self) -> bool:
        return self._drain_until is not None and (not self._requests or self._clock() >= self._drain_until)

    def _drain(self) -> None:
        idle = 0.0 if len(self._decoder) else max(0.0, self._next_beat - self._clock())
        idle = min(idle, PREPARE_SECONDS) if self._preparing else idle
        for client, message in self._channel.receive(idle):
            self._handle(client, message)

    def _handle(self, client: bytes, message: ToEngine) -> None:
        match message:
            case Hello():
                self._channel.post(client, self._status())
            case Submit():
                self._offer(client, message)
            case Abort(request_id, given_up):
                self._forget((client, request_id), given_up)

    def _offer(self, client: bytes, submission: Submit) -> None:
        key = (client, submission.request_id)
        if key in self._requests:
            logger.error("a client submitted a request twice")
        elif self._drain_until is not None:
            self._refuse(key, "not_ready")
        elif len(submission.prompt) >= self._model.context_length:
            self._refuse(key, "context_too_long")
        elif not self._scheduler.has_room:
            self._refuse(key, "queue_full", self._scheduler.retry_after)
        else:
            request = self._requests[key] = _Request(self._within_context(submission), self._clock())
            self._scheduler.join(key, request.tokens)
            self._channel.post(client, Admitted(submission.request_id))

    def _refuse(self, key: Key, reason: RefusalReason, retry_after: float | None = None) -> None:
        client, request_id = key
        self._channel.post(client, Refused(request_id, reason, retry_after))

    def _within_context(self, submission: Submit) -> Submit:
        room = self._model.context_length - len(submission.prompt)
        return msgspec.structs.replace(submission, max_tokens=min(submission.max_tokens, room))

    def _admit(self) -> None:
        self._preparing |= dict.fromkeys(self._scheduler.start(self._clock()))
        for key in [key for key in self._preparing if self._decoder.ready(self._requests[key].submission)]:
            del self._preparing[key]
            try:
                inserted = self._decoder.insert(self._requests[key].submission)
            except ValueError as error:
                self._finish(key, "error", str(error))
            else:
                self._started(key, inserted)

    def _started(self, key: Key, inserted: Inserted) -> None:
        client, _ = key
        self._by_sequence[inserted.sequence] = key
        self._channel.post(client, self._requests[key].start(inserted, self._clock()))

    def _step(self) -> None:
        size = len(self._decoder)
        if not size:
            return
        began = self._clock()
        try:
            step = self._decoder.step()
        except Exception:
            # Whatever it was, the sequences inside may be half changed; those still waiting are not.
            logger.exception("a step failed with %d sequences in flight", size)
            self._recover()
            return
        now = self._clock()
        for decoded in step.decoded:
            self._report(decoded, now)
        self._observer.step(StepStats(size, step.prefill_tokens, len(step.decoded), now - began, step.prefilling))

    def _recover(self) -> None:
        for key in list(self._by_sequence.values()):
            self._finish(key, "error", "The model failed while it ran this request.")
        self._channel.flush()
        self._decoder.reset()

    def _report(self, decoded: Decoded, now: float) -> None:
        key = self._by_sequence[decoded.sequence]
        request = self._requests[key]
        if request.first_token is None:
            request.first_token = now
        request.decoded_tokens += 1
        if request.decoded_tokens % USUAL_ANSWER == 0:
            self._scheduler.grow(key, request.tokens)
        client, request_id = key
        logprobs = [] if decoded.logprobs is None else [decoded.logprobs]
        self._channel.post(client, Tokens(request_id, [decoded.token], logprobs, decoded.stored_tokens))
        if decoded.finish is not None:
            self._finish(key, decoded.finish)

    def _finish(self, key: Key, reason: EngineFinishReason, message: str = "") -> None:
        client, _ = key
        self._channel.post(client, self._requests[key].finished(self._clock(), reason, message))
        self._drop(key)

    def _forget(self, key: Key, given_up: float | None = None) -> None:
        """Nobody wants this request any more. One that is not here has finished already."""
        request = self._requests.get(key)
        if request is None:
            return
        if request.sequence is not None:
            self._decoder.remove(request.sequence)
        self._drop(key)
        seconds = None if given_up is None else max(0.0, self._clock() - given_up)
        self._observer.cancelled(request.phase, seconds)

    def _drop(self, key: Key) -> None:
        request = self._requests.pop(key)
        self._preparing.pop(key, None)
        if request.sequence is not None:
            self._by_sequence.pop(request.sequence, None)
        self._scheduler.leave(key, self._clock())

    def _publish(self) -> None:
        draining = self._drain_until is not None
        if self._clock() >= self._next_beat or draining != self._announced_draining:
            self._announced_draining = draining
            self._next_beat = self._clock() + BEAT_SECONDS
            self._channel.post_all(self._status())
            self._observer.beat(self._statistics())
        self._send()

    def _send(self) -> None:
        for client in self._channel.flush():
            self._forget_client(client)

    def _forget_client(self, client: bytes) -> None:
        lost = [key for key in self._requests if key[0] == client]
        if lost:
            logger.info("a client has gone, with %d requests in flight", len(lost))
        for key in lost:
            self._forget(key)

    def _statistics(self) -> EngineStatistics:
        return EngineStatistics(self._scheduler.running, self._scheduler.waiting, self._decoder.statistics())

    def _status(self) -> Status:
        state: EngineState = "ready" if self._drain_until is None else "draining"
        return Status(self._incarnation, state, self._model, self._scheduler.running, self._scheduler.waiting)
