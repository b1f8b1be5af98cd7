"""What is asked of each system, and how it is timed: some streams at once, from the first send to the last token."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from llm_server.conversation import Conversation, Instructions, UserText
from llm_server.harmony.render import render

TASK: Final = "Count to 30."
STORY: Final = "Write a story of two thousand words about a lighthouse keeper."
"""Answers that are longer than what is measured; the embedded model knows only the first."""

UNGUARDED: Final = "unguarded"
TEXT: Final = "text"
JSON: Final = "json"
KINDS: Final = (UNGUARDED, TEXT, JSON)
"""Of guards: no grammar; a turn that may think, answer and call tools; an answer that must satisfy a schema."""

WARM_UP_TOKENS: Final = 16
"""Enough for every kernel of this batch size to be compiled, reading and decoding."""


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt as the two messages of a request."""

    instructions: str
    text: str

    @property
    def tokens(self) -> list[int]:
        return list(render(Conversation((Instructions(self.instructions), UserText(self.text)))).tokens)


@dataclass(frozen=True, slots=True)
class Answer:
    """Tokens read and generated, and seconds from the start of the load to the last of them."""

    prompt: int
    tokens: int
    seconds: float


class System(Protocol):
    """Something that answers questions, all at once. It is warm when it has answered as many before."""

    @property
    def name(self) -> str: ...

    def answer(self, questions: Sequence[Question], max_tokens: int) -> list[Answer]: ...


@dataclass(frozen=True, slots=True)
class Measurement:
    """One system at one number of streams. `short_answers` ended before the measured length, at a stop token."""

    streams: int
    tokens_per_second: float
    first_token_seconds: float
    prompt_tokens: int
    tokens: int
    short_answers: int


def questions(count: int, run: int, task: str) -> list[Question]:
    """Prompts of some 100 tokens. They differ from their first words, so that no cache can know more than the frame."""
    return [Question(_unlike_any_other(run, number), task) for number in range(count)]


def _unlike_any_other(run: int, number: int) -> str:
    digits = random.Random(f"{run}/{number}")
    numbers = ", ".join(str(digits.randrange(100, 1000)) for _ in range(6))
    return f"Never mention these numbers: {numbers}."


def measure(system: System, streams: int, *, max_tokens: int, repeats: int, task: str) -> Measurement:
    """Warm up, then take the median of the repeats.

    The time to the first token is that of an answer of one token, which every system ends in the same way: what a
    server shows of longer ones, and when, depends on the channels that the model chooses to write in.
    """
    system.answer(questions(streams, 0, task), min(max_tokens, WARM_UP_TOKENS))
    runs = [system.answer(questions(streams, 1 + run, task), max_tokens) for run in range(repeats)]
    firsts = [system.answer(questions(streams, 1001 + run, task), 1) for run in range(repeats)]
    answers = [answer for run in runs for answer in run]
    return Measurement(
        streams=streams,
        tokens_per_second=statistics.median(_tokens_per_second(run) for run in runs),
        first_token_seconds=statistics.median(answer.seconds for run in firsts for answer in run),
        prompt_tokens=sum(answer.prompt for answer in answers),
        tokens=sum(answer.tokens for answer in answers),
        short_answers=sum(answer.tokens < max_tokens for answer in answers),
    )


def _tokens_per_second(answers: Sequence[Answer]) -> float:
    return sum(answer.tokens for answer in answers) / max(answer.seconds for answer in answers)
