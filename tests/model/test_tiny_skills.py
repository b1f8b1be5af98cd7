"""The embedded model does what its README says, on prompts that its training never saw, through MLX."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Any

import mlx.core as mx
import pytest

from gpt_oss_tiny import MODEL_FOLDER
from gpt_oss_tiny.cases import Case, cases
from gpt_oss_tiny.evaluate import SPLITS, load, replies, table
from gpt_oss_tiny.everyday import everyday
from llm_server.conversation import (
    Conversation,
    GenerationRequest,
    Instructions,
    Item,
    Tool,
    ToolCall,
    ToolResult,
    UserText,
)
from llm_server.harmony.encoding import VOCABULARY_SIZE, harmony_encoding
from llm_server.harmony.render import render

SURE = ("greeting", "question", "untaught", "count", "repeat", "add", "capital", "date", "no tool needed")
"""What it never got wrong when it was measured. The others are in its README."""

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = Tool("get_weather", "Get the current weather for a city", CITY)
TIME = Tool("get_time", "Get the current time in a city", CITY)


@pytest.fixture(scope="module")
def model() -> Any:
    return load()


def _case(*items: Item, tools: tuple[Tool, ...] = ()) -> Case:
    conversation = Conversation(items, tools, "low", date(2026, 11, 22))
    return Case("", "train", GenerationRequest(conversation), list(render(conversation).tokens), [0] * 60)


def _said(model: Any, *wanted: Case) -> list[str]:
    """What each reply shows: its last message, with the header."""
    emitted = {id(outcome.case): outcome.emitted for outcome in replies(model, wanted)}
    texts = [harmony_encoding().decode(emitted[id(case)]) for case in wanted]
    return [text.split("<|end|><|start|>assistant<|channel|>")[-1] for text in texts]


def test_what_it_is_sure_of_it_gets_right(model: Any) -> None:
    wanted = [case for skill in SURE for split in SPLITS for case in cases(skill, split, 1)]
    rows = table(replies(model, wanted))
    wrong = {skill: row for skill, row in rows.items() if skill != "all" and row["new values"] < 1}
    assert len(wrong) <= 1, wrong
    assert rows["all"]["replies"] == 2 * len(SURE)


def test_everyday_requests_are_answered_as_well_as_it_was_measured(model: Any) -> None:
    outcomes = list(replies(model, everyday()))
    right = Counter(outcome.case.skill for outcome in outcomes if outcome.passed)
    assert right["tool result"] >= 47
    assert right["no tool needed"] >= 9
    assert right["tool call"] >= 70


def test_the_questions_of_the_readme(model: Any) -> None:
    questions = ("Hello, how are you?", "Count to 5", "Explain quantum computing", 'Say "hello world"')
    greeting, count, explanation, repeated = _said(model, *(_case(UserText(text)) for text in questions))
    assert greeting == "final<|message|>Hello! I am doing well, thank you. How can I help you today?<|return|>"
    assert count == "final<|message|>1, 2, 3, 4, 5<|return|>"
    assert explanation.startswith("final<|message|>Quantum computing uses qubits")
    assert repeated == "final<|message|>hello world<|return|>"


def test_it_calls_the_right_tool_and_answers_with_its_result(model: Any) -> None:
    asked = UserText("What is the weather in Paris?")
    called = (ToolCall("1", "get_weather", '{"city": "Paris"}'), ToolResult("1", "get_weather", "18 degrees"))
    turns = (_case(asked, tools=(TIME, WEATHER)), _case(asked, *called, tools=(TIME, WEATHER)))
    assert _said(model, *turns) == [
        'commentary to=functions.get_weather <|constrain|>json<|message|>{"city": "Paris"}<|call|>',
        "final<|message|>Here is the result: 18 degrees<|return|>",
    ]


def test_the_developer_decides_its_name(model: Any) -> None:
    told = _case(Instructions("Your name is Max."), UserText("What is your name?"))
    assert _said(model, told) == ["final<|message|>My name is Max.<|return|>"]


def test_it_says_the_same_alone_as_in_a_batch(model: Any) -> None:
    wanted = [case for skill in ("repeat", "tool call") for case in cases(skill, "new values", 2)]
    together = {id(outcome.case): outcome.emitted for outcome in replies(model, wanted)}
    for case in wanted:
        (alone,) = replies(model, [case])
        assert alone.emitted == together[id(case)]


def test_every_id_has_a_finite_logit_and_no_id_is_said_that_was_neither_taught_nor_read(model: Any) -> None:
    logits = model(mx.array([[200_006, 3, 150_001]]))
    assert logits.shape == (1, 3, VOCABULARY_SIZE)
    assert mx.isfinite(logits).all().item()
    chosen: Any = mx.argmax(logits, axis=-1).flatten().tolist()
    assert set(chosen) <= {*model.token_ids.tolist(), 150_001}


@pytest.mark.parametrize("text", ["zucchini", "Přerov", "naïve Erdős", "notes_2026.txt", "東京タワー"])
def test_words_that_it_never_met_are_copied(model: Any, text: str) -> None:
    assert _said(model, _case(UserText(f'Repeat "{text}"'))) == [f"final<|message|>{text}<|return|>"]


def test_it_fits_into_the_repository() -> None:
    assert sum(file.stat().st_size for file in MODEL_FOLDER.iterdir()) < 10_000_000
