"""Guarded decoding: which tokens a row may choose next, by the grammar of its request.

Grammars are compiled on a thread of their own, so a large one holds up nobody's decode step, and one that takes too
long to compile or to follow is given up. Masks are computed on the host while the device runs the forward pass, and
applied with plain operations that every backend has (llguidance's own kernel is for Metal alone). Knows grammars and
token ids; what the grammars describe is their author's business.

Tokens that a grammar forces are decoded like all others. They are 6 to 8 % of a text answer, 17 to 25 % of a tool call
or of structured output, but in runs of one to five, so reading each run at once would save one stream 2 to 12 % of its
steps, and a batch none, whose other rows need the steps; and mlx-lm's rotating caches take one token at a time once
they have taken one.
"""

# mypy: allow-untyped-calls
# (mx.async_eval has no annotations)

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, cast

import mlx.core as mx
from llguidance import LLMatcher, LLTokenizer

from llm_server.engine.masks import Bits, Masks, is_single
from llm_server.harmony.limits import parser_limits

COMPILE_SECONDS: Final = 5.0

LONGEST_DELAY, LONGEST_MEAN_DELAY = 1.0, 0.005
"""Seconds of computing by which one row's masks may hold up the batch: in all, and for each token besides."""

_COMPILERS: Final = 4
"""Threads. One that compiles for ever can not be stopped; when all do, no grammar is compiled that is not known."""

_GRAMMARS: Final = 64

_log = logging.getLogger(__name__)


class Guard:
    """One row's place in its grammar."""

    def __init__(self, matcher: LLMatcher, masks: Masks) -> None:
        self.masks = masks
        self._matcher = matcher
        self._bits = masks.empty()
        self._address = self._bits.ctypes.data
        self._tokens = -1
        self._seconds = 0.0
        self._gave_up = False

    def allowed(self, last: int) -> Bits | None:
        """What may follow `last`, until the next call, or None where the grammar has nothing more to say.

        The first `last` is the prompt's, which the grammar knows nothing of. A grammar that fails, by a limit of its
        own or of ours, leaves the row unguarded rather than the request unanswered: the parser takes whatever comes.
        """
        self._tokens += 1
        if self._gave_up:
            return None
        started = time.thread_time()
        bits = self._computed(last)
        self._seconds += time.thread_time() - started
        if self._seconds > LONGEST_DELAY + LONGEST_MEAN_DELAY * self._tokens:
            self._give_up("too slow")
        if bits is not None:
            self.masks.forced += is_single(bits)
        return bits

    def _computed(self, last: int) -> Bits | None:
        if self._tokens and not self._matcher.is_stopped():
            self._matcher.consume_token(last)
        is_over = self._matcher.is_stopped()
        if not is_over:
            # Into an array of ours: as an object of Python's it takes four times as long.
            self._matcher.unsafe_compute_mask_ptr(self._address, self._bits.nbytes)
        if self._matcher.is_error():
            self._give_up(str(self._matcher.stop_reason()))
            return None
        return None if is_over else self._bits

    def _give_up(self, reason: str) -> None:
        _log.warning("a grammar was given up: %s", reason)
        self._gave_up = True


class _Compilation:
    """A grammar that is being compiled, or was, since its first use."""

    def __init__(self, matcher: Future[LLMatcher], seconds: float) -> None:
        self._matcher = matcher
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds

    @property
    def is_over(self) -> bool:
        return self._matcher.done() or time.monotonic() > self._deadline

    def matcher(self) -> LLMatcher:
        """Waits for it.

        Raises:
            ValueError: it is no grammar, or takes too long.
        """
        try:
            return self._matcher.result(max(0.0, self._deadline - time.monotonic()))
        except TimeoutError:
            raise ValueError(f"The request's grammar takes longer than {self._seconds:g} s to compile.") from None


class Grammars:
    """Compiles grammars (Lark text) against one tokenizer; the most recently used ones are kept compiled."""

    def __init__(
        self,
        tokenizer: Callable[[], LLTokenizer],
        vocabulary: int,
        *,
        compile_seconds: float = COMPILE_SECONDS,
    ) -> None:
        self._compile_seconds = compile_seconds
        self._compilers = ThreadPoolExecutor(_COMPILERS, "grammar")
        self._tokenizer = self._compilers.submit(tokenizer)
        self._masks = Masks(vocabulary)
        self._compiled: OrderedDict[str, _Compilation] = OrderedDict()

    @property
    def forced_tokens(self) -> int:
        """How often a grammar has left no choice."""
        return self._masks.forced

    def ready(self, grammar: str) -> bool:
        """Whether `guard` need not wait for this grammar. It is being compiled from now on."""
        return self._tokenizer.done() and self._compilation(grammar).is_over

    def guard(self, grammar: str) -> Guard:
        """A guard at the grammar's start.

        Raises:
            ValueError: it is no grammar, or takes too long to compile.
        """
        self._tokenizer.result()
        return Guard(self._compilation(grammar).matcher().deep_copy(), self._masks)

    def _compilation(self, grammar: str) -> _Compilation:
        if (known := self._compiled.get(grammar)) is not None:
            self._compiled.move_to_end(grammar)
            return known
        matcher = self._compilers.submit(self._compile, grammar)
        compilation = self._compiled[grammar] = _Compilation(matcher, self._compile_seconds)
        if len(self._compiled) > _GRAMMARS:
            self._compiled.popitem(last=False)
        return compilation

    def _compile(self, grammar: str) -> LLMatcher:
        text = LLMatcher.grammar_from_lark(grammar)
        matcher = LLMatcher(self._tokenizer.result(), text, log_level=0, limits=parser_limits())
        if matcher.is_error():
            # The library's message quotes the grammar, which holds a caller's schema.
            raise ValueError("The request's grammar can not be compiled.")
        return matcher


def masked(logits: mx.array, inputs: mx.array, guards: list[Guard | None]) -> mx.array:
    """Logits (rows, vocabulary) without what the rows' guards forbid, given each row's latest token (rows,).

    Waits for those tokens, after the device was given the forward pass to work on.
    """
    masks = next((guard.masks for guard in guards if guard), None)
    if masks is None:
        return logits
    mx.async_eval(logits)
    latest = cast(list[int], inputs.tolist())
    rows = [guard.allowed(token) if guard else None for guard, token in zip(guards, latest, strict=True)]
    if all(bits is None for bits in rows):
        return logits
    return masks.struck(logits, rows) if mx.default_device() == mx.cpu else masks.selected(logits, rows)
