"""Guarded decoding on random weights, which know nothing of Harmony: every turn they write is well-formed.

`HARMONY_TURNS=1000 pytest tests/model/test_guard.py` proves it with more of them.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from openai_harmony import Role

from llm_server.conversation import Conversation, GenerationRequest, Sampling, Tool, ToolChoice, UserText
from llm_server.engine.batch import Batch
from llm_server.engine.guard import Grammars
from llm_server.engine.types import Submit
from llm_server.events import Completion, Event, Finish, fold
from llm_server.harmony.encoding import STOP_TOKENS, VOCABULARY_SIZE, harmony_encoding
from llm_server.harmony.grammar import turn_grammar
from llm_server.harmony.guard import guard_tokenizer
from llm_server.harmony.parse import HarmonyParser
from llm_server.harmony.render import render
from random_model import RandomModel

TURNS = int(os.environ.get("HARMONY_TURNS", "8"))
"""Each has a seed of its own."""

TOGETHER = 8

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 12},
        "unit": {"enum": ["celsius", "fahrenheit"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 14},
        "alerts": {"type": "boolean"},
    },
    "required": ["city", "unit", "days", "alerts"],
    "additionalProperties": False,
}
WEATHER = Tool("get_weather", "Gets the weather.", SCHEMA)
CLOCK = Tool("get_time", "Gets the time.")
ASKED = GenerationRequest(
    Conversation((UserText("What is the weather?"),), (WEATHER, CLOCK)), max_tokens=400, reasoning_budget=20
)


@cache
def grammars() -> Grammars:
    return Grammars(guard_tokenizer, VOCABULARY_SIZE)


@pytest.fixture(scope="module")
def batch() -> Batch:
    model = RandomModel(vocabulary=VOCABULARY_SIZE).model
    return Batch(model, max_concurrency=16, prefill_step_size=512, grammars=grammars())


def turns(batch: Batch, request: GenerationRequest, count: int) -> list[list[int]]:
    """The tokens of `count` turns, each with a seed of its own, decoded together."""
    prompt, grammar = list(render(request.conversation).tokens), turn_grammar(request)
    answers: dict[int, list[int]] = {}
    seeds = iter(range(count))
    while len(answers) < count or len(batch):
        while len(batch) < TOGETHER and (seed := next(seeds, None)) is not None:
            sampling = replace(request.sampling, seed=seed)
            limit = request.max_tokens or 400
            submission = Submit("", prompt, limit, list(STOP_TOKENS), sampling, grammar)
            answers[batch.insert(submission).sequence] = []
        for decoded in batch.step().decoded:
            answers[decoded.sequence].append(decoded.token)
    return list(answers.values())


def parsed(tokens: list[int], request: GenerationRequest) -> tuple[Completion, HarmonyParser]:
    parser = HarmonyParser([tool.name for tool in request.conversation.tools], new_call_id=lambda: "call")
    events: list[Event] = [event for token in tokens for event in parser.feed(token)]
    events += parser.finish(truncated=tokens[-1] not in STOP_TOKENS)
    return fold([*events, Finish(parser.finish_reason)]), parser


def test_required_calls_are_all_well_formed(batch: Batch) -> None:
    request = replace(ASKED, tool_choice=ToolChoice("required", frozenset({"get_weather"}), most_calls=1))
    for tokens in turns(batch, request, TURNS):
        completion, parser = parsed(tokens, request)
        harmony_encoding().parse_messages_from_completion_tokens(tokens, Role.ASSISTANT, strict=True)
        [call] = completion.tool_calls
        arguments: dict[str, Any] = json.loads(call.text)
        assert call.tool_name == "get_weather"
        assert arguments.keys() == SCHEMA["properties"].keys()
        assert isinstance(arguments["city"], str)
        assert arguments["unit"] in ("celsius", "fahrenheit")
        assert 1 <= arguments["days"] <= 14
        assert isinstance(arguments["alerts"], bool)
        assert completion.finish.reason == "tool_calls"
        assert {repair.kind for repair in parser.repairs} <= {"call_channel"}, "a call may stand on analysis, too"


def test_an_answer_that_must_be_json_is(batch: Batch) -> None:
    request = replace(ASKED, answer_schema=SCHEMA, tool_choice=ToolChoice("none"))
    for tokens in turns(batch, request, TURNS):
        completion, parser = parsed(tokens, request)
        assert json.loads(completion.text).keys() == SCHEMA["properties"].keys()
        assert completion.finish.reason == "stop"
        assert not parser.repairs


def test_free_turns_never_call_what_is_not_declared(batch: Batch) -> None:
    for tokens in turns(batch, replace(ASKED, max_tokens=60), TURNS):
        _, parser = parsed(tokens, ASKED)
        if tokens[-1] in STOP_TOKENS:
            assert {repair.kind for repair in parser.repairs} <= {"call_channel"}
        assert not parser.undeclared_calls


@pytest.mark.parametrize("limit", [4, 15, 32])
def test_a_small_limit_leaves_an_answer(batch: Batch, limit: int) -> None:
    request = replace(ASKED, max_tokens=limit, reasoning_budget=None, conversation=Conversation((UserText("Hi"),)))
    for tokens in turns(batch, request, TURNS):
        completion, _ = parsed(tokens, request)
        assert completion.text


def test_guarded_and_free_rows_share_a_batch(batch: Batch) -> None:
    """What one row is held to does not touch the others."""
    prompt = list(render(ASKED.conversation).tokens)
    free = Submit("", prompt, 12, [], Sampling(temperature=0))

    def decode(*grammars: str) -> list[int]:
        sequences = [batch.insert(each).sequence for each in (free, *(replaced(grammar) for grammar in grammars))]
        tokens: dict[int, list[int]] = {sequence: [] for sequence in sequences}
        while len(batch):
            for decoded in batch.step().decoded:
                tokens[decoded.sequence].append(decoded.token)
        return tokens[sequences[0]]

    def replaced(grammar: str) -> Submit:
        return Submit("", prompt, 12, list(STOP_TOKENS), Sampling(temperature=0), grammar)

    assert decode() == decode(turn_grammar(ASKED), turn_grammar(replace(ASKED, answer_schema=SCHEMA)))


def test_a_grammar_that_is_none_is_refused(batch: Batch) -> None:
    with pytest.raises(ValueError, match="grammar"):
        batch.insert(Submit("", [1], 1, [], Sampling(), "this is no grammar"))


def test_tokens_that_the_grammar_alone_decides_are_counted() -> None:
    model = RandomModel(vocabulary=VOCABULARY_SIZE).model
    own = Grammars(guard_tokenizer, VOCABULARY_SIZE)
    counting = Batch(model, max_concurrency=1, prefill_step_size=512, grammars=own)
    grammar = "%llguidance {}\nstart: <|channel|> <|message|> <|end|> <|start|> <|return|>"
    counting.insert(Submit("", [1, 2, 3], 5, list(STOP_TOKENS), Sampling(), grammar))
    while len(counting):
        counting.step()
    assert counting.statistics().guard_forced_tokens == 5
