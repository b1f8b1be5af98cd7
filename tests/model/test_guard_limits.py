"""A grammar that takes too long is given up, whether it is being compiled or followed; masks are right in every bit."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from itertools import combinations
from typing import Any, TypeAlias, cast

import mlx.core as mx
import numpy as np
import pytest
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

from llm_server.engine.guard import Grammars, Guard
from llm_server.engine.masks import Masks
from llm_server.harmony.faults import TOO_COMPLEX
from llm_server.harmony.schemas import json_rule
from llm_server.harmony.trial_process import fault
from llm_server.harmony.trials import Trials
from processes import descendants, is_running, wait_until

SLOW = "%llguidance {}\nstart: %json " + json.dumps(
    {"enum": [{"a": number, "b": [number] * 5} for number in range(1200)]}
)


class Bytes:
    eos_token_id, bos_token_id, special_token_ids = 256, None, (256,)
    tokens = (*(bytes([byte]) for byte in range(256)), b"<|end|>")

    def __call__(self, text: bytes) -> list[int]:
        return list(text)


Apply: TypeAlias = Callable[[Masks, mx.array, list[Any]], mx.array]


def tokenizer() -> LLTokenizer:
    return LLTokenizer(TokenizerWrapper(Bytes()))


class Busy:
    """A matcher whose every mask takes some computing."""

    def __init__(self, seconds: float) -> None:
        self.masks = 0
        self._seconds = seconds

    def unsafe_compute_mask_ptr(self, _address: int, _length: int) -> None:
        self.masks += 1
        until = time.thread_time() + self._seconds
        while time.thread_time() < until:
            pass

    def consume_token(self, _: int) -> bool:
        return True

    def is_stopped(self) -> bool:
        return False

    def is_error(self) -> bool:
        return False

    def stop_reason(self) -> str:
        return "NotStopped"


def test_a_grammar_that_is_slow_to_follow_is_given_up() -> None:
    matcher = Busy(0.4)
    guard = Guard(cast(LLMatcher, matcher), Masks(8))
    masks = [guard.allowed(0) is not None for _ in range(6)]
    assert masks == [True, True, True, False, False, False]
    assert matcher.masks == 3


def test_a_grammar_that_is_quick_to_follow_is_kept() -> None:
    guard = Guard(cast(LLMatcher, Busy(0.0)), Masks(8))
    assert all(guard.allowed(0) is not None for _ in range(1000))


def test_a_grammar_that_is_slow_to_compile_is_refused_and_holds_up_no_other() -> None:
    grammars = Grammars(tokenizer, 257, compile_seconds=0.0)
    with pytest.raises(ValueError, match="takes longer than 0 s"):
        grammars.guard(SLOW)
    patient = Grammars(tokenizer, 257)
    assert patient.guard(SLOW).allowed(0) is not None


VOCABULARY = 313
EVERYTHING = np.ones(VOCABULARY, bool)
FEW, MOST = (np.random.default_rng(1).random((2, VOCABULARY)).T < (0.1, 0.9)).T
"""Which ids a mask allows."""


@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16, mx.float16])
@pytest.mark.parametrize("apply", [Masks.struck, Masks.selected])
@pytest.mark.parametrize("masks", [[FEW, FEW], [MOST, MOST], [MOST, FEW, None], [None, FEW], [~EVERYTHING, EVERYTHING]])
def test_a_mask_forbids_what_its_bits_do_not_allow(masks: list[Any], apply: Apply, dtype: mx.Dtype) -> None:
    rows = [
        None if mask is None else np.packbits(np.pad(mask, (0, 7)), bitorder="little").view(np.uint32) for mask in masks
    ]
    logits = mx.random.normal((len(rows), VOCABULARY), key=mx.random.key(1)).astype(dtype)
    found = apply(Masks(VOCABULARY), logits, rows)
    assert found.dtype == dtype
    allowed = np.stack([EVERYTHING if mask is None else mask for mask in masks])
    expected: Any = np.where(allowed, np.array(logits.astype(mx.float32)), -np.inf)
    assert (np.array(found.astype(mx.float32)) == expected).all()


@pytest.mark.parametrize("apply", [Masks.struck, Masks.selected])
def test_masks_that_were_kept_and_those_that_were_given_up_are_right(apply: Apply) -> None:
    masks = Masks(VOCABULARY)
    logits = mx.zeros((1, VOCABULARY))
    for allowed in [*range(VOCABULARY), *range(VOCABULARY), 7, 7]:
        bits = np.packbits(np.arange(320) == allowed, bitorder="little").view(np.uint32)
        assert mx.argmax(apply(masks, logits, [bits])).item() == allowed


async def test_a_rule_that_takes_too_long_costs_its_process_and_nothing_else() -> None:
    hours, quick = '%json {"type": "integer", "multipleOf": 99999989}', '%json {"type": "integer"}'
    trials = Trials(seconds=0.5)
    faults = await trials.faults([hours, quick])
    again = await trials.faults([quick, hours])
    trials.close()
    assert faults == again == {hours: "it takes longer than 0.5 s to compile", quick: ""}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps to a limit of memory")
async def test_a_rule_that_takes_too_much_memory_costs_its_process_and_nothing_else() -> None:
    schema: dict[str, Any] = {}
    for _ in range(8):
        properties = {name: schema if name == "a" else {} for name in "abcdefgh"}
        any_of = [{"required": [one, other]} for one, other in combinations(properties, 2)]
        schema = {"type": "object", "properties": properties, "anyOf": any_of}
    huge, quick = json_rule(schema, strict=False), '%json {"type": "integer"}'
    trials = Trials(seconds=120.0)
    faults = await trials.faults([huge, quick])
    trials.close()
    assert faults == {huge: TOO_COMPLEX, quick: ""}


async def test_a_rule_is_not_blamed_for_the_end_of_a_process_that_has_tried_others() -> None:
    first, second = ('%json {"type": "boolean"}', '%json {"type": "null"}')
    others = {entry.pid for entry in descendants(os.getpid())}
    trials = Trials(seconds=60.0)
    assert await trials.faults([first]) == {first: ""}
    (process,) = (entry for entry in descendants(os.getpid()) if entry.pid not in others)
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: not is_running(process.pid))
    assert await trials.faults([second]) == {second: ""}
    trials.close()


def test_long_strings_are_tried_though_they_may_be_short() -> None:
    assert "complex" in fault('%json {"type": "string", "pattern": "^((((a{1,100}){1,100}){1,100}){1,100})$"}')
