"""The grammar of a turn, judged by llguidance itself over the real vocabulary: what it takes and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from types import MappingProxyType
from typing import Any

import pytest
from llguidance import LLMatcher, LLTokenizer

from fakes import message, next_message, reply, text_tokens
from llm_server.conversation import Conversation, Freeform, GenerationRequest, Tool, ToolChoice, UserText
from llm_server.errors import BadRequest
from llm_server.harmony.encoding import CALL, CHANNEL, END, MESSAGE, RETURN
from llm_server.harmony.grammar import MOST_COUNTED_CALLS, rules_to_try, turn_grammar
from llm_server.harmony.guard import guard_tokenizer
from llm_server.harmony.schemas import MAX_SCHEMA_DEPTH
from llm_server.harmony.trial_process import fault

WEATHER = Tool(
    "get_weather",
    parameters={
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"],
        "additionalProperties": False,
    },
)
CLOCK = Tool("clock")
PATCH = Tool("apply_patch", freeform=Freeform())
HELLO = GenerationRequest(Conversation((UserText("Hello"),)))


@cache
def tokenizer() -> LLTokenizer:
    return guard_tokenizer()


def request(*tools: Tool, **changes: Any) -> GenerationRequest:
    return replace(HELLO, conversation=replace(HELLO.conversation, tools=tools), **changes)


def test_an_answer_with_a_schema_has_no_preamble_but_a_call_beside_it_may() -> None:
    asked = request(WEATHER, answer_schema={"type": "object", "properties": {"a": {"type": "integer"}}})
    answer = message("final", '{"a": 1}', RETURN)
    assert accepted(asked, answer) == len(answer)
    assert accepted(asked, [*PREAMBLE, *answer]) < len([*PREAMBLE, *answer])
    assert accepted(asked, [*PREAMBLE, *call("get_weather", GOOD)]) > 0


def tried(asked: GenerationRequest) -> dict[str, str]:
    """What the grammar library says of the caller's rules."""
    return {rule: fault(rule) for rule in rules_to_try(asked)}


def accepted(asked: GenerationRequest, tokens: list[int], faults: Mapping[str, str] = MappingProxyType({})) -> int:
    """How many of the tokens are legal; all of them and the end of the turn is `len(tokens)`."""
    matcher = LLMatcher(tokenizer(), LLMatcher.grammar_from_lark(turn_grammar(asked, faults)), log_level=0)
    for count, token in enumerate(tokens):
        if not matcher.consume_token(token):
            return count
    return len(tokens) if matcher.is_stopped() else -1


def call(name: str, arguments: str, *, channel: str = "commentary", end: int = CALL) -> list[int]:
    return message(channel, arguments, end, f"functions.{name}")


def freeform_call(name: str, text: str) -> list[int]:
    return [CHANNEL, *text_tokens(f"commentary to=functions.{name}"), MESSAGE, *text_tokens(text), CALL]


PREAMBLE = [*message("commentary", "Let me look.", END), *next_message()]
THOUGHT = [*message("analysis", "The user wants <weather>.", END), *next_message()]
GOOD = '{"city": "Oslo", "days": 3}'


def calls(count: int) -> list[int]:
    """So many calls one after another."""
    return [*([*call("get_weather", GOOD, end=END), *next_message()] * (count - 1)), *call("get_weather", GOOD)]


@pytest.mark.parametrize(
    ("asked", "tokens"),
    [
        (request(), reply("Think.", "Hello! <|end|> is a marker.")),
        (request(), message("final", "No thought at all.", RETURN)),
        (request(WEATHER), [*THOUGHT, *call("get_weather", GOOD)]),
        (request(WEATHER), [*THOUGHT, *call("get_weather", GOOD, channel="analysis")]),
        (request(WEATHER), [*THOUGHT, *PREAMBLE, *call("get_weather", '{"city":"Oslo"}')]),
        (request(WEATHER), [*THOUGHT, *PREAMBLE, *THOUGHT, *call("get_weather", GOOD)]),
        (request(WEATHER), reply("No tool.", "Hello!")),
        (request(WEATHER, CLOCK), [*THOUGHT, *call("clock", "{}")]),
        (request(Tool("note", parameters={"type": "object"})), call("note", '{"any": [1]}')),
        (request(Tool("note", parameters={"properties": {}, "required": ["a"]})), call("note", '{"a": 1}')),
        (request(Tool("note", parameters={"properties": {}, "additionalProperties": True})), call("note", '{"a": 1}')),
        (request(WEATHER), [*THOUGHT, *call("get_weather", '{\n    "city": "Oslo"\n}')]),
        (request(WEATHER), [*call("get_weather", GOOD, end=END), *next_message(), *call("get_weather", GOOD)]),
        (request(WEATHER, tool_choice=ToolChoice(most_calls=2)), calls(2)),
        (request(WEATHER, tool_choice=ToolChoice(most_calls=MOST_COUNTED_CALLS)), calls(MOST_COUNTED_CALLS)),
        (request(WEATHER, tool_choice=ToolChoice(most_calls=2**31)), calls(MOST_COUNTED_CALLS + 1)),
        (request(PATCH), [*THOUGHT, *freeform_call("apply_patch", "*** Begin Patch\n+ x = {1}")]),
        (request(replace(PATCH, freeform=Freeform("regex", "a/b+"))), freeform_call("apply_patch", "a/bbb")),
        (request(replace(PATCH, freeform=Freeform("regex", r"a\/[\/]b"))), freeform_call("apply_patch", "a//b")),
        (request(replace(PATCH, freeform=Freeform("regex", r"a\\/b"))), freeform_call("apply_patch", "a\\/b")),
        (
            request(replace(PATCH, freeform=Freeform("lark", 'start: "x" /[0-9]+/'))),
            freeform_call("apply_patch", "x42"),
        ),
        (request(answer_schema={"type": "object"}), reply("Any words.", '{"a": [1, 2]}')),
        (request(WEATHER, tool_choice=ToolChoice("none")), reply("No tool.", "Hello!")),
    ],
)
def test_a_legal_turn_is_taken_to_its_end(asked: GenerationRequest, tokens: list[int]) -> None:
    assert accepted(asked, tokens) == len(tokens)


@pytest.mark.parametrize(
    ("asked", "tokens"),
    [
        (request(), text_tokens("Hello without a header")),
        (request(), message("thoughts", "Another channel.", END)),
        (request(), call("get_weather", GOOD)),
        (request(WEATHER), call("get_time", GOOD)),
        (request(WEATHER), call("get_weather", '{"days": 3}')),
        (request(WEATHER), call("get_weather", '{"city": "Oslo", "wind": 1}')),
        (request(WEATHER), call("get_weather", '{"city": "Oslo", "days": "three"}')),
        (request(WEATHER), call("get_weather", '{"city": "Oslo"')),
        (request(CLOCK), call("clock", '{"zone": "UTC"}')),
        (request(replace(CLOCK, parameters={})), call("clock", '{"zone": "UTC"}')),
        (request(replace(CLOCK, parameters={"type": "object", "properties": {}})), call("clock", '{"zone": "UTC"}')),
        (request(WEATHER), [*message("analysis", "Think.", RETURN)]),
        (request(WEATHER), message("final", "Hello!", END)),
        (request(WEATHER), [*call("get_weather", GOOD)[:-1], RETURN]),
        (request(WEATHER, tool_choice=ToolChoice("none")), call("get_weather", GOOD)),
        (request(WEATHER, tool_choice=ToolChoice("required")), message("final", "Hello!", RETURN)),
        (request(WEATHER, CLOCK, tool_choice=ToolChoice("auto", frozenset({"clock"}))), call("get_weather", GOOD)),
        (request(WEATHER, tool_choice=ToolChoice(most_calls=1)), calls(2)),
        (request(WEATHER, tool_choice=ToolChoice("required", most_calls=2)), calls(3)),
        (request(WEATHER, tool_choice=ToolChoice(most_calls=MOST_COUNTED_CALLS)), calls(MOST_COUNTED_CALLS + 1)),
        (request(answer_schema={"type": "object"}), message("final", "[1, 2]", RETURN)),
        (request(replace(PATCH, freeform=Freeform("regex", "a+"))), freeform_call("apply_patch", "b")),
        (request(WEATHER), call("get_weather", '{"city": "Oslo", "days": ' + "1" * 30 + "}")),
        (request(WEATHER), call("get_weather", "{" + "\n" * 40 + '"city": "Oslo"}')),
    ],
)
def test_what_is_not_legal_can_not_be_finished(asked: GenerationRequest, tokens: list[int]) -> None:
    assert accepted(asked, tokens) < len(tokens)


LISTED = {"type": "object", "properties": {"a": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("parameters", "arguments"),
    [
        (LISTED, '{"a": 1, "b": 2}'),
        (LISTED, '{"b": 2}'),
        ({"properties": {"part": LISTED}}, '{"part": {"b": 2}}'),
        ({"properties": {"parts": {"type": "array", "items": LISTED}}}, '{"parts": [{"b": 2}]}'),
        ({"properties": {"part": {"anyOf": [LISTED, {"type": "null"}]}}}, '{"part": {"b": 2}}'),
        ({"properties": {"part": {"$ref": "#/$defs/Part"}}, "$defs": {"Part": LISTED}}, '{"part": {"b": 2}}'),
        ({"properties": {"allOf": LISTED}}, '{"allOf": {"b": 2}}'),
        ({**LISTED, "minProperties": 1}, '{"b": 2}'),
    ],
)
def test_a_tool_is_called_with_nothing_that_it_does_not_list(parameters: dict[str, Any], arguments: str) -> None:
    tokens = call("note", arguments)
    assert accepted(request(Tool("note", parameters=parameters)), tokens) < len(tokens)


@pytest.mark.parametrize(
    ("parameters", "arguments"),
    [
        (LISTED, '{"a": 1}'),
        ({**LISTED, "additionalProperties": True}, '{"a": 1, "b": 2}'),
        ({**LISTED, "patternProperties": {"^b$": {"type": "integer"}}}, '{"a": 1, "b": 2}'),
        ({**LISTED, "minProperties": 1}, '{"a": 1}'),
        ({**LISTED, "required": ["a", "b"]}, '{"a": 1, "b": 2}'),
        ({"allOf": [LISTED, {"properties": {"b": {"type": "integer"}}, "required": ["b"]}]}, '{"a": 1, "b": 2}'),
        ({**LISTED, "anyOf": [{"required": ["b"], "properties": {"b": {"type": "integer"}}}]}, '{"a": 1, "b": 2}'),
        ({"properties": {"data": {"type": "object"}}}, '{"data": {"b": 2}}'),
        ({"properties": {"data": {"default": LISTED}}}, '{"data": {"b": 2}}'),
    ],
)
def test_a_tool_that_may_take_more_than_it_lists_is_given_it(parameters: dict[str, Any], arguments: str) -> None:
    tokens = call("note", arguments)
    assert accepted(request(Tool("note", parameters=parameters)), tokens) == len(tokens)


@pytest.mark.parametrize(
    ("changes", "budget"),
    [({"max_tokens": 100}, 75), ({"max_tokens": 20}, 6), ({"reasoning_budget": 5}, 5)],
)
def test_analysis_ends_within_its_budget(changes: dict[str, int], budget: int) -> None:
    header = [CHANNEL, *text_tokens("analysis"), MESSAGE]
    words = text_tokens(" word" * 90)
    assert accepted(request(**changes), [*header, *words]) == len(header) + budget


@pytest.mark.parametrize(("limit", "words"), [(None, 256), (400, 27), (4000, 256)])
def test_what_is_said_before_a_call_that_must_come_leaves_room_for_it(limit: int | None, words: int) -> None:
    asked = request(WEATHER, tool_choice=ToolChoice("required"), max_tokens=limit)
    header = [CHANNEL, *text_tokens("commentary"), MESSAGE]
    assert accepted(asked, [*header, *text_tokens(" word" * 300)]) == len(header) + words
    assert accepted(request(WEATHER), [*header, *text_tokens(" word" * 300)]) == -1, "an answer may be of any length"


def test_a_call_that_must_come_within_a_few_tokens_comes_at_once() -> None:
    asked = request(WEATHER, tool_choice=ToolChoice("required"), max_tokens=40)
    header = [CHANNEL, *text_tokens("commentary"), MESSAGE]
    assert accepted(asked, header) == len(header) - 1
    assert accepted(asked, call("get_weather", GOOD)) == len(call("get_weather", GOOD))


def test_a_limit_that_leaves_no_room_for_analysis_leaves_it_out() -> None:
    asked = request(max_tokens=14)
    assert accepted(asked, reply("Think.", "Hello!")) < 3
    assert accepted(asked, message("final", "Hello!", RETURN)) > 0


@pytest.mark.parametrize(
    ("schema", "word"),
    [
        ({"type": "object", "not": {"type": "string"}}, "not"),
        ({"type": "object", "properties": {"a": {"if": {}}}}, "if"),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"type": "nonsense"}, "nonsense"),
        ({"type": "object", "properties": {"a": {"type": "string", "pattern": "(unclosed"}}}, "regex"),
    ],
)
def test_a_schema_that_can_not_be_enforced_is_refused_by_name(schema: dict[str, Any], word: str) -> None:
    with pytest.raises(BadRequest, match=word):
        turn_grammar(request(answer_schema=schema))
    with pytest.raises(BadRequest, match=word):
        turn_grammar(request(Tool("f", parameters=schema, strict=True)))


def test_a_tool_that_is_not_strict_is_held_to_what_can_be_enforced() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "not": {"required": ["b"]}}
    asked = request(Tool("f", parameters=schema))
    assert accepted(asked, call("f", '{"a": 1}')) > 0
    assert accepted(asked, call("f", '{"a": "x"}')) < len(call("f", '{"a": "x"}'))


@pytest.mark.parametrize(
    "part",
    [
        {"$ref": "https://example.com/s.json"},
        {"$ref": "#/$defs/List<T>"},
        {"$ref": "#/$defs/Missing"},
        {"type": "file"},
        {"type": "string", "required": True},
    ],
)
def test_of_a_schema_that_nobody_can_follow_the_names_remain(part: dict[str, Any]) -> None:
    asked = request(Tool("f", parameters={"type": "object", "properties": {"a": part}, "required": ["a"]}))
    assert accepted(asked, call("f", '{"a": {"b": 1}}'), tried(asked)) > 0
    assert 0 <= accepted(asked, call("f", '{"b": 1}'), tried(asked)) < len(call("f", '{"b": 1}'))


@pytest.mark.parametrize(
    "schema", [{"properties": []}, {"additionalProperties": "no"}, {"required": ["a"]}, {"$id": "a b"}]
)
def test_a_tool_with_no_schema_to_speak_of_takes_any_object(schema: dict[str, Any]) -> None:
    asked = request(Tool("f", parameters={"type": "object", **schema}))
    assert accepted(asked, call("f", '{"a": 1}'), tried(asked)) > 0


def many_tools(count: int, *, strict: bool = False) -> list[Tool]:
    """Each with a schema of its own."""
    return [
        Tool(f"tool_{number}", parameters={"type": "object", "required": [f"x{number}"]}, strict=strict)
        for number in range(count)
    ]


def test_of_more_schemas_than_can_be_told_apart_the_strict_ones_are_enforced_first() -> None:
    strict = Tool("strict", parameters={"type": "object", "required": ["y"]}, strict=True)
    asked = replace(request(*many_tools(400), strict), max_tokens=100)
    for name, field in (("tool_0", "x0"), ("strict", "y")):
        assert accepted(asked, right := call(name, f'{{"{field}": 1}}')) == len(right)
        assert accepted(asked, wrong := call(name, "{}")) < len(wrong) - 1
    assert accepted(asked, object_ := call("tool_399", "{}")) == len(object_)
    assert accepted(asked, number := call("tool_399", "7")) < len(number) - 1


def test_tools_with_one_schema_are_all_enforced() -> None:
    tools = [replace(tool, parameters={"type": "object", "required": ["x"]}) for tool in many_tools(400, strict=True)]
    asked = replace(request(*tools), max_tokens=100)
    assert accepted(asked, right := call("tool_399", '{"x": 1}')) == len(right)
    assert accepted(asked, wrong := call("tool_399", "{}")) < len(wrong) - 1


def test_more_strict_schemas_than_can_be_told_apart_are_refused() -> None:
    with pytest.raises(BadRequest, match="strict"):
        turn_grammar(replace(request(*many_tools(400, strict=True)), max_tokens=100))


def test_an_answer_that_is_not_strict_is_held_to_what_can_be_enforced() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "not": {"required": ["b"]}}
    asked = request(answer_schema=schema, strict_answer=False)
    assert accepted(asked, message("final", '{"a": 1}', RETURN)) == len(message("final", '{"a": 1}', RETURN))
    assert accepted(asked, message("final", '{"a": "x"}', RETURN)) < len(message("final", '{"a": "x"}', RETURN)) - 1


def test_schemas_are_limited_in_size_and_depth() -> None:
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(MAX_SCHEMA_DEPTH):
        deep = {"type": "object", "properties": {"a": deep}}
    with pytest.raises(BadRequest, match="deeper"):
        turn_grammar(request(answer_schema=deep))
    with pytest.raises(BadRequest, match="longer"):
        turn_grammar(request(answer_schema={"type": "string", "description": "x" * 70_000}))


def test_a_refusal_says_nothing_of_the_schema_around_the_fault() -> None:
    with pytest.raises(BadRequest) as refused:
        turn_grammar(request(answer_schema={"type": "object", "not": {}, "description": "zebra"}))
    assert "zebra" not in refused.value.message


def test_tool_names_are_text_in_the_grammar() -> None:
    asked = request(Tool('a"b\\c'))
    tokens = message("commentary", "{}", CALL, 'functions.a"b\\c')
    assert accepted(asked, tokens) == len(tokens)
