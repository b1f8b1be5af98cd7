"""The engine's loop, with a decoder and a channel that need neither MLX nor sockets."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
import pytest

from llm_server.conversation import Sampling
from llm_server.engine.decoder import Decoded, Inserted, Step
from llm_server.engine.loop import BEAT_SECONDS, USUAL_ANSWER, Key, Loop
from llm_server.engine.scheduler import Scheduler
from llm_server.engine.types import (
    Abort,
    Admitted,
    DecoderStatistics,
    EngineStatistics,
    Finished,
    FromEngine,
    Hello,
    Logprobs,
    ModelInfo,
    Phase,
    Refused,
    Started,
    Status,
    StepStats,
    Submit,
    ToEngine,
    Tokens,
)

MODEL = ModelInfo("fake", 100, "none", "cpu", 1, 1)
ALICE, BOB = b"alice", b"bob"
Message = TypeVar("Message")


def submission(request_id: str, *, prompt: int = 3, max_tokens: int = 5, stop: tuple[int, ...] = ()) -> Submit:
    return Submit(request_id, list(range(prompt)), max_tokens, list(stop), Sampling())


@dataclass
class FakeDecoder:
    """Reads two prompt tokens per step; then the n-th token of a sequence is ten times its number plus n."""

    failures: int = 0
    resets: int = 0
    sequences: dict[int, Submit] = field(default_factory=dict)
    unread: dict[int, int] = field(default_factory=dict)
    decoded: dict[int, int] = field(default_factory=dict)
    inserted: int = 0
    compiling: set[str] = field(default_factory=set)
    cached: dict[str, tuple[int, int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.sequences)

    def insert(self, submission: Submit) -> Inserted:
        if not submission.prompt:
            raise ValueError("no prompt")
        self.inserted += 1
        self.sequences[self.inserted] = submission
        self.unread[self.inserted] = len(submission.prompt)
        self.decoded[self.inserted] = 0
        return Inserted(self.inserted, *self.cached.get(submission.request_id, (0, -1)))

    def ready(self, submission: Submit) -> bool:
        return submission.grammar not in self.compiling

    def remove(self, sequence: int) -> None:
        for table in (self.sequences, self.unread, self.decoded):
            table.pop(sequence, None)

    def statistics(self) -> DecoderStatistics:
        return DecoderStatistics(kv_tokens=len(self.sequences))

    def reset(self) -> None:
        self.resets += 1
        for sequence in list(self.sequences):
            self.remove(sequence)

    def step(self) -> Step:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("command buffer execution failed")
        read = 0
        prefilling = sum(map(bool, self.unread.values()))
        decoded = []
        for sequence, request in list(self.sequences.items()):
            if self.unread[sequence]:
                now = min(2, self.unread[sequence])
                self.unread[sequence] -= now
                read += now
            else:
                decoded.append(self._next(sequence, request))
        return Step(decoded, read, prefilling)

    def _next(self, sequence: int, request: Submit) -> Decoded:
        self.decoded[sequence] += 1
        token = 10 * sequence + self.decoded[sequence]
        logprobs = None if request.sampling.top_logprobs is None else Logprobs(-0.5, [(token, -0.5)])
        if token in request.stop_tokens:
            self.remove(sequence)
            return Decoded(sequence, token, logprobs, "stop")
        if self.decoded.get(sequence) == request.max_tokens:
            self.remove(sequence)
            return Decoded(sequence, token, logprobs, "length")
        return Decoded(sequence, token, logprobs, None)


class FakeChannel:
    """Hands over what the test puts in `incoming`, and keeps what each client was sent."""

    def __init__(self) -> None:
        self.incoming: deque[tuple[bytes, ToEngine]] = deque()
        self.sent: dict[bytes, list[FromEngine]] = defaultdict(list)
        self.frames: dict[bytes, int] = defaultdict(int)
        self.gone: set[bytes] = set()
        self.waits: list[float] = []
        self._posted: dict[bytes, list[FromEngine]] = {}

    def receive(self, seconds: float) -> list[tuple[bytes, ToEngine]]:
        self.waits.append(seconds)
        received = list(self.incoming)
        self.incoming.clear()
        for client, _ in received:
            self._posted.setdefault(client, [])
        return received

    def post(self, client: bytes, message: FromEngine) -> None:
        self._posted.setdefault(client, []).append(message)

    def post_all(self, message: FromEngine) -> None:
        for messages in self._posted.values():
            messages.append(message)

    def flush(self) -> list[bytes]:
        gone = [client for client, messages in self._posted.items() if messages and client in self.gone]
        for client, messages in self._posted.items():
            self.frames[client] += bool(messages)
            self.sent[client] += messages
            messages.clear()
        for client in gone:
            del self._posted[client]
        return gone


@dataclass
class Watch:
    """An observer that keeps what it is told."""

    steps: list[StepStats] = field(default_factory=list)
    beats: list[EngineStatistics] = field(default_factory=list)
    cancellations: list[tuple[Phase, float | None]] = field(default_factory=list)

    def step(self, stats: StepStats) -> None:
        self.steps.append(stats)

    def beat(self, statistics: EngineStatistics) -> None:
        self.beats.append(statistics)

    def cancelled(self, phase: Phase, seconds: float | None) -> None:
        self.cancellations.append((phase, seconds))


class Engine:
    """A loop with its fakes, and a clock that stands still unless it is moved."""

    def __init__(
        self,
        *,
        max_running: int = 2,
        max_waiting: int = 2,
        max_tokens: int | None = None,
        model: ModelInfo = MODEL,
        decoder: FakeDecoder | None = None,
    ) -> None:
        self.decoder = FakeDecoder() if decoder is None else decoder
        self.channel = FakeChannel()
        self.now = 1000.0
        self.watch = Watch()
        self.loop = Loop(
            self.decoder,
            self.channel,
            Scheduler[Key](max_running=max_running, max_waiting=max_waiting, max_tokens=max_tokens),
            incarnation="first",
            model=model,
            observer=self.watch,
            clock=lambda: self.now,
        )

    def turn(self, *messages: ToEngine, client: bytes = ALICE) -> None:
        self.channel.incoming.extend((client, message) for message in messages)
        self.loop.turn()

    def turn_until_idle(self) -> None:
        """One turn without work is not the end: the next one may admit somebody."""
        idle = 0
        while idle < 2:
            self.loop.turn()
            idle = 0 if len(self.decoder) else idle + 1

    def sent(self, kind: type[Message], client: bytes = ALICE) -> list[Message]:
        return [message for message in self.channel.sent[client] if isinstance(message, kind)]

    def tokens(self, request_id: str, client: bytes = ALICE) -> list[int]:
        messages = [message for message in self.sent(Tokens, client) if message.request_id == request_id]
        return [token for message in messages for token in message.tokens]

    def ends(self, client: bytes = ALICE) -> dict[str, str]:
        return {message.request_id: message.reason for message in self.sent(Finished, client)}

    @property
    def load(self) -> tuple[int, int]:
        """Running and waiting requests, as the status says."""
        self.turn(Hello(), client=b"observer")
        status = self.sent(Status, b"observer")[-1]
        return status.running, status.waiting


def test_a_request_is_admitted_decoded_and_finished_in_that_order() -> None:
    engine = Engine()
    engine.turn(submission("a", max_tokens=3))
    engine.turn_until_idle()
    kinds = [type(message).__name__ for message in engine.channel.sent[ALICE] if not isinstance(message, Status)]
    assert kinds == ["Admitted", "Started", "Tokens", "Tokens", "Tokens", "Finished"]
    assert engine.tokens("a") == [11, 12, 13]
    assert engine.ends() == {"a": "length"}
    assert engine.load == (0, 0)


def test_who_is_admitted_hears_of_it_before_the_step_that_reads_the_prompt() -> None:
    """That step may take seconds, and would be taken for time in the queue."""
    heard: list[list[type]] = []

    class Watched(FakeDecoder):
        def step(self) -> Step:
            heard.append([type(message) for message in engine.channel.sent[ALICE]])
            return super().step()

    engine = Engine(decoder=Watched(), max_running=1, max_waiting=0)
    engine.turn(submission("a"), submission("b"))
    assert heard == [[Admitted, Refused, Started]]


def test_a_stop_token_is_reported_and_ends_the_request() -> None:
    engine = Engine()
    engine.turn(submission("a", stop=(12,)))
    engine.turn_until_idle()
    assert engine.tokens("a") == [11, 12]
    assert engine.ends() == {"a": "stop"}


def test_log_probabilities_travel_with_their_tokens() -> None:
    engine = Engine()
    wanted = msgspec.structs.replace(submission("a", max_tokens=2), sampling=Sampling(top_logprobs=1))
    engine.turn(wanted, submission("b", max_tokens=2))
    engine.turn_until_idle()
    by_request = {message.request_id: message.logprobs for message in engine.sent(Tokens)}
    assert by_request == {"a": [Logprobs(-0.5, [(12, -0.5)])], "b": []}


def test_requests_beyond_the_limits_wait_in_order_or_are_refused() -> None:
    engine = Engine(max_running=1, max_waiting=1)
    engine.turn(*(submission(name, max_tokens=1) for name in "abc"))
    assert [message.request_id for message in engine.sent(Admitted)] == ["a", "b"]
    (refused,) = engine.sent(Refused)
    assert (refused.request_id, refused.reason) == ("c", "queue_full")
    assert refused.retry_after is not None
    assert refused.retry_after >= 1
    assert engine.load == (1, 1)
    engine.turn_until_idle()
    engine.turn()
    engine.turn_until_idle()
    assert list(engine.ends()) == ["a", "b"]


def test_a_prompt_as_long_as_the_context_is_refused_and_a_shorter_one_gets_what_is_left() -> None:
    engine = Engine()
    engine.turn(submission("long", prompt=100), submission("fits", prompt=99, max_tokens=50))
    assert [(message.request_id, message.reason) for message in engine.sent(Refused)] == [("long", "context_too_long")]
    engine.turn_until_idle()
    assert len(engine.tokens("fits")) == 1
    assert engine.ends() == {"fits": "length"}


def test_a_request_that_can_not_be_run_fails_alone_and_says_why() -> None:
    engine = Engine()
    engine.turn(submission("bad", prompt=0), submission("good", max_tokens=2))
    engine.turn_until_idle()
    assert engine.ends() == {"bad": "error", "good": "length"}
    assert [message.message for message in engine.sent(Finished) if message.request_id == "bad"] == ["no prompt"]
    assert engine.load == (0, 0)


@pytest.mark.parametrize(("turns", "state"), [(0, "queue"), (1, "prefill"), (4, "decode")])
def test_an_abort_frees_the_place_at_once_and_says_nothing_more(turns: int, state: str) -> None:
    engine = Engine(max_running=1, max_waiting=2)
    if state == "queue":
        engine.turn(submission("other", prompt=1, max_tokens=40))
    engine.turn(submission("a", prompt=6, max_tokens=9))
    for _ in range(turns):
        engine.turn()
    assert bool(engine.tokens("a")) == (state == "decode")
    before = len(engine.tokens("a"))
    engine.turn(Abort("a"))
    assert engine.load == ((1, 0) if state == "queue" else (0, 0))
    assert len(engine.decoder) == (1 if state == "queue" else 0)
    engine.turn_until_idle()
    assert len(engine.tokens("a")) == before
    assert "a" not in engine.ends()


def test_an_abort_lets_the_next_in_the_queue_start_in_the_same_turn() -> None:
    engine = Engine(max_running=1, max_waiting=1)
    engine.turn(submission("a"), submission("b"))
    engine.turn(Abort("a"))
    assert next(iter(engine.decoder.sequences.values())).request_id == "b"


def test_an_abort_of_what_is_unknown_or_finished_is_no_error() -> None:
    engine = Engine()
    engine.turn(Abort("never"), submission("a", max_tokens=1))
    engine.turn_until_idle()
    engine.turn(Abort("a"), Abort("a"))
    assert engine.ends() == {"a": "length"}


def test_two_clients_may_use_the_same_request_id() -> None:
    engine = Engine()
    engine.turn(submission("same", max_tokens=2), client=ALICE)
    engine.turn(submission("same", max_tokens=3), client=BOB)
    engine.turn(Abort("same"), client=ALICE)
    engine.turn_until_idle()
    assert engine.tokens("same", BOB) == [21, 22, 23]
    assert engine.ends(ALICE) == {}
    assert engine.ends(BOB) == {"same": "length"}


def test_a_second_submission_of_a_request_that_runs_is_ignored() -> None:
    engine = Engine()
    engine.turn(submission("a", max_tokens=2), submission("a", max_tokens=9))
    engine.turn_until_idle()
    assert engine.tokens("a") == [11, 12]


@pytest.mark.parametrize("turns", [1, 2, 6])
def test_a_client_that_has_gone_loses_its_requests_wherever_they_are(turns: int) -> None:
    engine = Engine(max_running=2, max_waiting=3)
    engine.turn(*(submission(name, prompt=5, max_tokens=90) for name in "abc"), client=ALICE)
    engine.turn(submission("d", prompt=1, max_tokens=3), client=BOB)
    engine.channel.gone.add(ALICE)
    for _ in range(turns):
        engine.turn()
        engine.now += BEAT_SECONDS
    engine.turn()
    assert "a" not in [request.request_id for request in engine.decoder.sequences.values()]
    engine.turn_until_idle()
    assert engine.decoder.inserted == 3
    assert engine.ends(BOB) == {"d": "length"}
    assert engine.load == (0, 0)


def test_the_tokens_of_one_step_reach_a_client_in_one_frame() -> None:
    engine = Engine()
    engine.turn(submission("a", prompt=1), submission("b", prompt=1))
    before = engine.channel.frames[ALICE]
    engine.turn()
    assert (engine.tokens("a"), engine.tokens("b")) == ([11], [21])
    assert engine.channel.frames[ALICE] == before + 1


def test_a_failed_step_costs_those_in_flight_an_error_and_nobody_else() -> None:
    engine = Engine(max_running=1, max_waiting=1)
    engine.turn(submission("a"), submission("b", max_tokens=1))
    engine.decoder.failures = 1
    engine.turn()
    assert engine.ends() == {"a": "error"}
    assert engine.decoder.resets == 1
    engine.turn()
    engine.turn_until_idle()
    assert engine.ends() == {"a": "error", "b": "length"}


def test_a_decoder_that_can_not_be_reset_ends_the_process_after_the_requests_were_told() -> None:
    class Lost(FakeDecoder):
        def reset(self) -> None:
            raise RuntimeError("no device")

    engine = Engine(decoder=Lost(failures=1))
    with pytest.raises(RuntimeError, match="no device"):
        engine.turn(submission("a"))
    assert engine.ends() == {"a": "error"}


def test_the_status_comes_at_once_to_a_hello_and_then_with_every_beat_even_while_busy() -> None:
    engine = Engine()
    engine.turn(Hello())
    assert engine.sent(Status)[0] == Status("first", "ready", MODEL, 0, 0)
    engine.turn(submission("a", prompt=60))
    before = len(engine.sent(Status))
    for _ in range(3):
        engine.now += BEAT_SECONDS
        engine.turn()
    assert len(engine.decoder) == 1
    assert not engine.tokens("a")
    assert len(engine.sent(Status)) == before + 3
    engine.turn()
    assert len(engine.sent(Status)) == before + 3


def test_an_idle_loop_sleeps_until_the_next_beat_and_a_busy_one_never() -> None:
    engine = Engine()
    engine.turn()
    engine.turn(submission("a", prompt=2, max_tokens=1))
    while len(engine.decoder):
        engine.turn()
    engine.turn()
    # The first beat is due at once; the request is read in the turn in which it comes, and decoded in the next.
    assert engine.channel.waits == [0.0, BEAT_SECONDS, 0.0, BEAT_SECONDS]


def test_draining_refuses_what_is_new_and_finishes_what_was_admitted() -> None:
    engine = Engine(max_running=1, max_waiting=1)
    engine.turn(submission("a", max_tokens=2), submission("b", max_tokens=2))
    engine.loop.drain(30.0)
    engine.turn(submission("late"))
    assert engine.sent(Status)[-1].state == "draining"
    assert [(message.request_id, message.reason) for message in engine.sent(Refused)] == [("late", "not_ready")]
    engine.loop.run()
    assert engine.ends() == {"a": "length", "b": "length"}


def test_draining_ends_when_its_time_is_up() -> None:
    engine = Engine()
    engine.turn(submission("a", max_tokens=90))
    engine.loop.drain(5.0)
    advance: Callable[[float], list[Any]] = engine.channel.receive

    def receive(seconds: float) -> list[Any]:
        engine.now += 1.0
        return advance(seconds)

    engine.channel.receive = receive  # type: ignore[method-assign]
    engine.loop.run()
    assert engine.ends() == {}
    assert 0 < len(engine.tokens("a")) < 10


def test_times_are_told_for_each_phase() -> None:
    engine = Engine(max_running=1, max_waiting=1)
    engine.turn(submission("other", prompt=1, max_tokens=1), submission("a", prompt=4, max_tokens=2))
    for _ in range(8):
        engine.now += 1.0
        engine.turn()
    finished = engine.sent(Finished)[-1]
    assert finished.request_id == "a"
    # One second per turn: it waits for the other's two steps, is read in two, decoded in one and one more.
    assert (finished.queue_seconds, finished.prefill_seconds, finished.decode_seconds) == (2.0, 2.0, 1.0)
    (started,) = [message for message in engine.sent(Started) if message.request_id == "a"]
    assert started == Started("a", 2.0, 0, -1)


def test_every_step_is_told_to_the_observer() -> None:
    engine = Engine()
    engine.turn(submission("a", prompt=3, max_tokens=1), submission("b", prompt=1, max_tokens=2))
    engine.turn_until_idle()
    assert engine.watch.steps == [
        StepStats(2, 3, 0, 0.0, prefilling=2),
        StepStats(2, 1, 1, 0.0, prefilling=1),
        StepStats(2, 0, 2, 0.0, prefilling=0),
    ]


def test_what_of_a_prompt_was_known_is_told_at_the_start_and_at_the_end() -> None:
    engine = Engine(decoder=FakeDecoder(cached={"a": (2, 3)}))
    engine.turn(submission("a", max_tokens=1), submission("b", max_tokens=1))
    engine.turn_until_idle()
    assert engine.sent(Started) == [Started("a", 0.0, 2, 3), Started("b", 0.0, 0, -1)]
    assert {message.request_id: message.cached_tokens for message in engine.sent(Finished)} == {"a": 2, "b": 0}


def test_each_beat_tells_the_observer_how_things_are() -> None:
    engine = Engine(max_running=1, max_waiting=2)
    engine.turn(*(submission(name, prompt=60) for name in "abc"))
    engine.now += BEAT_SECONDS
    engine.turn()
    engine.turn()
    assert engine.watch.beats == [EngineStatistics(1, 2, DecoderStatistics(kv_tokens=1))] * 2


@pytest.mark.parametrize(("turns", "phase"), [(0, "queue"), (1, "prefill"), (4, "decode")])
def test_a_cancellation_is_told_with_its_phase_and_how_long_it_took(turns: int, phase: str) -> None:
    engine = Engine(max_running=1)
    if phase == "queue":
        engine.turn(submission("other", max_tokens=40))
    engine.turn(submission("a", prompt=6, max_tokens=9))
    for _ in range(turns):
        engine.turn()
    engine.now += 3.0
    engine.turn(Abort("a", given_up=engine.now - 0.25), Abort("unknown", given_up=engine.now))
    assert engine.watch.cancellations == [(phase, 0.25)]


def test_of_a_client_that_has_gone_nobody_knows_since_when() -> None:
    engine = Engine()
    engine.turn(submission("a", prompt=60))
    engine.channel.gone.add(ALICE)
    engine.now += BEAT_SECONDS
    engine.turn()
    assert engine.watch.cancellations == [("prefill", None)]


def test_a_request_runs_once_its_grammar_is_compiled_and_holds_up_nobody() -> None:
    engine = Engine(decoder=FakeDecoder(compiling={"slow"}))
    engine.turn(msgspec.structs.replace(submission("slow"), grammar="slow"), submission("quick"))
    engine.turn_until_idle()
    assert engine.ends() == {"quick": "length"}
    assert engine.load == (1, 0)
    assert engine.channel.waits[-1] < BEAT_SECONDS
    engine.decoder.compiling.clear()
    engine.turn_until_idle()
    assert engine.ends() == {"quick": "length", "slow": "length"}


def test_an_abort_frees_a_request_whose_grammar_is_being_compiled() -> None:
    engine = Engine(decoder=FakeDecoder(compiling={"slow"}))
    engine.turn(msgspec.structs.replace(submission("slow"), grammar="slow"))
    engine.turn(Abort("slow"))
    assert engine.load == (0, 0)


def test_room_is_kept_for_the_prompt_and_the_answer_that_it_may_have() -> None:
    engine = Engine(max_running=9, max_waiting=9, max_tokens=40)
    engine.turn(*(submission(name, prompt=3, max_tokens=10) for name in "abcd"))
    assert engine.load == (3, 1)
    engine.turn_until_idle()
    assert set(engine.ends()) == set("abcd")


def test_an_answer_without_a_limit_is_expected_to_be_a_usual_one_and_takes_more_room_when_it_is_not() -> None:
    large = msgspec.structs.replace(MODEL, context_length=100 * USUAL_ANSWER)
    engine = Engine(max_running=9, max_waiting=9, max_tokens=4 * USUAL_ANSWER, model=large)
    engine.turn(submission("long", prompt=2, max_tokens=90 * USUAL_ANSWER), submission("short", prompt=2))
    assert engine.load == (2, 0)
    while len(engine.tokens("long")) < USUAL_ANSWER:
        engine.turn()
    assert "short" in engine.ends()
    engine.turn(submission("second", prompt=2))
    assert engine.load == (1, 1)  # twice two usual answers and a prompt
