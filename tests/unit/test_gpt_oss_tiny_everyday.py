"""The exam written by hand: what is right in it passes, what is wrong does not, and training never meets it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gpt_oss_tiny.corpus import scenes
from gpt_oss_tiny.everyday import Everyday, everyday, first_of_each
from llm_server.harmony.encoding import encode, harmony_encoding

THOUGHT = "<|channel|>analysis<|message|>I call it.<|end|><|start|>assistant"
CASES = list(everyday())
CALLS = [case for case in CASES if case.call is not None]


def _emitted(text: str) -> list[int]:
    return list(harmony_encoding().encode(THOUGHT + text, allowed_special="all"))


def _called(name: str, arguments: dict[str, Any]) -> list[int]:
    header = f"<|channel|>commentary to=functions.{name} <|constrain|>json<|message|>"
    return _emitted(f"{header}{json.dumps(arguments)}<|call|>")


def test_there_is_something_of_each_kind() -> None:
    assert len(CALLS) > 90
    assert {case.skill for case in CASES} == {"tool call", "tool result", "no tool needed"}
    assert len({tool.name for case in CASES for tool in case.request.conversation.tools}) > 30


@pytest.mark.parametrize("case", CALLS, ids=lambda case: case.request.conversation.items[0].text[:40])
def test_the_right_call_passes_and_no_other(case: Everyday) -> None:
    assert case.call is not None
    name, right = case.call["name"], first_of_each(case.call["arguments"])
    assert case.passed(_called(name, right))
    assert not case.passed(_called(name + "_2", right))
    assert not case.passed(_called(name, {**right, "more": 1}))
    assert not right or not case.passed(_called(name, {}))
    assert not case.passed(_emitted("<|channel|>final<|message|>I cannot do that.<|return|>"))
    assert not case.passed(encode("nothing"))


def test_an_answer_must_say_all_that_is_asked_for() -> None:
    told = [case for case in CASES if case.call is None]
    assert told
    for case in told:
        assert case.passed(_emitted(f"<|channel|>final<|message|>{' '.join(case.says)}.<|return|>"))
        assert not case.passed(_called("anything", {}))
        if any(case.says):
            assert not case.passed(_emitted("<|channel|>final<|message|>?<|return|>"))


def test_training_never_reads_what_is_asked_here() -> None:
    asked = {case.request.conversation.items[0].text for case in CALLS}  # type: ignore[union-attr]
    drawn = {scene.last.user for skill in ("tool call", "no tool needed") for scene in scenes(3, "train", skill, 500)}
    assert not asked & drawn
