"""Turns of a conversation with the embedded model, rendered as they are: each reads only what is new."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from llm_server.conversation import Conversation, Instructions, Item, Sampling, Tool, UserText
from llm_server.engine.batch import Batch
from llm_server.engine.found import find_model
from llm_server.engine.loading import load
from llm_server.engine.memory import MemoryPlan
from llm_server.engine.process import load_batch
from llm_server.engine.types import Submit
from llm_server.harmony.encoding import CALL, STOP_TOKENS, harmony_encoding
from llm_server.harmony.render import render
from llm_server.settings import Settings

FRAME = Instructions("You answer briefly and never repeat the question. " * 30)
WEATHER = Tool(
    "get_weather",
    "Get the current weather for a city",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
BESIDE_THE_MESSAGE = 20
"""Tokens around a new message: its header and end, and the header of the answer."""


@pytest.fixture(scope="module")
def model() -> Any:
    return load(find_model(Settings(model_path="tiny", device="cpu")), None).model


@dataclass
class Engine:
    """Runs one prompt after the other, and notes of each how long it was and how much of it was known."""

    batch: Batch
    prompts: list[int] = field(default_factory=list)
    cached: list[int] = field(default_factory=list)

    def answer(self, prompt: list[int]) -> list[int]:
        submission = Submit("", prompt, 60, list(STOP_TOKENS), Sampling(temperature=0.0), resumed_tokens=[CALL])
        inserted = self.batch.insert(submission)
        self.prompts.append(len(prompt))
        self.cached.append(inserted.cached_tokens)
        tokens: list[int] = []
        while len(self.batch):
            tokens += [decoded.token for decoded in self.batch.step().decoded]
        return tokens


def engine(model: Any, prefix_cache_bytes: int) -> Engine:
    memory = MemoryPlan(prefix_cache_bytes=prefix_cache_bytes)
    return Engine(Batch(model, max_concurrency=4, prefill_step_size=512, memory=memory))


def rendered(*items: Item) -> list[int]:
    return list(render(Conversation((FRAME, *items), (WEATHER,))).tokens)


def test_each_turn_reads_what_is_new_and_says_what_it_would_say_anyway(model: Any) -> None:
    knowing, plain = engine(model, 10**9), engine(model, 0)
    turns: list[Item] = []
    for question in ("Hello, how are you?", "Count to 5", "What is the capital of France?"):
        turns.append(UserText(question))
        prompt = rendered(*turns)
        assert knowing.answer(prompt) == plain.answer(prompt)
    assert knowing.cached[0] == 0
    assert knowing.cached[1:] == [length - 1 for length in knowing.prompts[:-1]]


def test_another_conversation_with_the_same_frame_reads_its_own_message(model: Any) -> None:
    knowing, plain = engine(model, 10**9), engine(model, 0)
    for question in ("Hello, how are you?", "Count to 5", "Count to 6"):
        prompt = rendered(UserText(question))
        assert knowing.answer(prompt) == plain.answer(prompt)
    unread = [length - cached for length, cached in zip(knowing.prompts, knowing.cached, strict=True)]
    assert max(unread[1:]) < BESIDE_THE_MESSAGE


def test_between_tool_calls_not_even_the_answer_is_read_again(model: Any) -> None:
    """The next prompt goes on with what was decoded. The one after the turn has ended leaves that out again."""
    knowing, plain = engine(model, 10**9), engine(model, 0)
    asked = rendered(UserText("What is the weather in Paris?"))
    call = knowing.answer(asked)
    assert call == plain.answer(asked)
    assert call[-1] == CALL
    following = [*asked, *call, *special("<|start|>functions.get_weather to=assistant<|channel|>commentary<|message|>")]
    following += special("Sunny.<|end|><|start|>assistant")
    assert knowing.answer(following) == plain.answer(following)
    later = [*asked, *special("<|channel|>final<|message|>It is sunny.<|end|><|start|>user<|message|>Thanks<|end|>")]
    later += special("<|start|>assistant")
    assert knowing.answer(later) == plain.answer(later)
    assert knowing.cached[1] == len(asked) + len(call)
    assert knowing.cached[2] >= len(asked) - 1


def special(text: str) -> list[int]:
    return list(harmony_encoding().encode(text, allowed_special="all"))


def test_no_context_is_promised_that_memory_can_not_hold() -> None:
    batch, info = load_batch(Settings(model_path="tiny", device="cpu", harmony_guard="off", max_kv_tokens=1000))
    assert info.context_length == batch.statistics().kv_tokens_capacity == 1000
