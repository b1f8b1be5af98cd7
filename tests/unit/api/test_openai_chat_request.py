"""The wire request as canonical generations: what is understood, what is ignored, what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llm_server.api.body import validate
from llm_server.api.openai_chat.request import to_generations
from llm_server.api.openai_chat.schema import ChatRequest
from llm_server.api.sampling import SMALLEST_TOP_P
from llm_server.conversation import (
    AssistantText,
    Freeform,
    GenerationRequest,
    Instructions,
    Sampling,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    UserText,
)
from llm_server.errors import BadRequest

HELLO = [{"role": "user", "content": "Hello"}]
WEATHER = {"name": "get_weather", "description": "Weather now", "parameters": {"type": "object"}}
CLOCK = {"name": "clock"}
TOOLS = [{"type": "function", "function": WEATHER}, {"type": "function", "function": CLOCK}]


def generations(**fields: Any) -> list[GenerationRequest]:
    return to_generations(validate(ChatRequest, {"model": "m", "messages": HELLO} | fields))


def generation(**fields: Any) -> GenerationRequest:
    (only,) = generations(**fields)
    return only


def refusal(**fields: Any) -> BadRequest:
    with pytest.raises(BadRequest) as refused:
        generations(**fields)
    return refused.value


def call(name: str = "get_weather", arguments: str = '{"city":"Paris"}', call_id: str = "call_1") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_every_role_has_its_item() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "text", "text": "In English."}]},
        {"role": "user", "content": "Weather?", "name": "ann"},
        {"role": "assistant", "content": "Let me look.", "tool_calls": [call()]},
        {"role": "tool", "tool_call_id": "call_1", "content": "Sun"},
        {"role": "assistant", "content": "Sunny."},
        {"role": "user", "content": [{"type": "text", "text": "And"}, {"type": "text", "text": "tomorrow?"}]},
    ]
    assert generation(messages=messages).conversation.items == (
        Instructions("Be brief."),
        Instructions("In English."),
        UserText("Weather?", "ann"),
        AssistantText("Let me look."),
        ToolCall("call_1", "get_weather", '{"city":"Paris"}'),
        ToolResult("call_1", "get_weather", "Sun"),
        AssistantText("Sunny."),
        UserText("And\ntomorrow?"),
    )


def test_several_calls_are_answered_by_their_ids() -> None:
    messages = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [call("a.b", "{}", "1"), call("c/d", "{}", "2")]},
        {"role": "tool", "tool_call_id": "2", "content": [{"type": "text", "text": "two"}]},
        {"role": "tool", "tool_call_id": "1", "content": "one"},
    ]
    assert generation(messages=messages).conversation.items[1:] == (
        ToolCall("1", "a.b", "{}"),
        ToolCall("2", "c/d", "{}"),
        ToolResult("2", "c/d", "two"),
        ToolResult("1", "a.b", "one"),
    )


def test_deprecated_function_messages_are_calls_and_results() -> None:
    messages = [
        *HELLO,
        {"role": "assistant", "content": None, "function_call": {"name": "clock", "arguments": "{}"}},
        {"role": "function", "name": "clock", "content": "noon"},
    ]
    asked = generation(messages=messages, functions=[CLOCK, WEATHER], function_call={"name": "clock"})
    assert asked.conversation.items[1:] == (ToolCall("", "clock", "{}"), ToolResult("", "clock", "noon"))
    assert asked.tool_choice == ToolChoice("required", frozenset({"clock"}), most_calls=1)


def test_reasoning_that_comes_back_is_dropped() -> None:
    said = {"role": "assistant", "content": "Hi", "reasoning": "secret", "reasoning_content": "secret", "refusal": None}
    assert generation(messages=[*HELLO, said, *HELLO]).conversation.items[1] == AssistantText("Hi")


@pytest.mark.parametrize("kind", ["thinking", "redacted_thinking", "reasoning"])
def test_reasoning_that_comes_back_among_the_parts_is_dropped(kind: str) -> None:
    parts = [{"type": kind, kind: "secret", "text": "secret"}, {"type": "text", "text": "Hi"}]
    said = {"role": "assistant", "content": parts}
    assert generation(messages=[*HELLO, said, *HELLO]).conversation.items[1] == AssistantText("Hi")
    with pytest.raises(BadRequest):
        generation(messages=[{"role": "user", "content": parts}])


@pytest.mark.parametrize("content", [None, "", []])
def test_an_assistant_that_said_nothing_leaves_no_item(content: Any) -> None:
    assert generation(messages=[*HELLO, {"role": "assistant", "content": content}]).conversation.items == (
        UserText("Hello"),
    )


def test_a_refusal_is_what_the_assistant_said() -> None:
    in_field = {"role": "assistant", "content": None, "refusal": "No."}
    in_part = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    items = generation(messages=[in_field, in_part, *HELLO]).conversation.items
    assert items[:2] == (AssistantText("No."), AssistantText("No."))


@pytest.mark.parametrize(
    ("name", "told"), [("ann", "ann"), ("a<|end|>b c", "a__end__b_c"), ("", ""), ("x" * 99, "x" * 64)]
)
def test_a_participants_name_can_not_break_a_header(name: str, told: str) -> None:
    said = generation(messages=[{"role": "user", "content": "Hi", "name": name}]).conversation.items
    assert said == (UserText("Hi", told),)


PATCH: dict[str, Any] = {"type": "custom", "custom": {"name": "patch", "description": "Change files."}}
NUMBER: dict[str, Any] = {"type": "grammar", "grammar": {"syntax": "regex", "definition": "[0-9]+"}}


@pytest.mark.parametrize(
    ("wanted", "freeform"),
    [(None, Freeform()), ({"type": "text"}, Freeform()), (NUMBER, Freeform("regex", "[0-9]+"))],
)
def test_custom_tools_take_plain_text(wanted: Any, freeform: Freeform) -> None:
    tool = {**PATCH, "custom": {**PATCH["custom"], "format": wanted}}
    assert generation(tools=[tool]).conversation.tools == (Tool("patch", "Change files.", freeform=freeform),)


def test_calls_of_custom_tools_are_told_with_their_input() -> None:
    made = {"id": "call_1", "type": "custom", "custom": {"name": "patch", "input": "*** Begin"}}
    answered = {"role": "tool", "tool_call_id": "call_1", "content": "Done"}
    items = generation(messages=[*HELLO, {"role": "assistant", "tool_calls": [made]}, answered]).conversation.items
    assert items[1:] == (ToolCall("call_1", "patch", "*** Begin"), ToolResult("call_1", "patch", "Done"))


def test_media_in_a_tools_result_are_passed_over() -> None:
    parts = [{"type": "text", "text": "Seen:"}, {"type": "image_url", "image_url": {"url": "data:,"}}, {"type": "new"}]
    messages = [*HELLO, {"role": "assistant", "tool_calls": [call()]}]
    items = generation(messages=[*messages, {"role": "tool", "tool_call_id": "call_1", "content": parts}])
    left_out = "[images left out: this model reads text only]\n[a part left out: this model reads text only]"
    assert items.conversation.items[-1] == ToolResult("call_1", "get_weather", f"Seen:\n{left_out}")


@pytest.mark.parametrize(("wish", "told"), [("low", "briefly"), ("medium", None), ("high", "at length")])
def test_verbosity_is_told_after_the_callers_own_instructions(wish: str, told: str | None) -> None:
    messages = [{"role": "system", "content": "Be kind."}, *HELLO]
    items = generation(messages=messages, verbosity=wish).conversation.items
    assert items[0] == Instructions("Be kind.")
    assert [told in item.text for item in items[1:-1] if isinstance(item, Instructions) and told] == [True] * bool(told)


def test_tools_in_order_and_kinds_that_nobody_can_run_left_out() -> None:
    tools = [*TOOLS, {"type": "web_search"}, {"type": "mcp", "server_label": "files"}]
    assert generation(tools=tools).conversation.tools == (
        Tool("get_weather", "Weather now", {"type": "object"}),
        Tool("clock"),
    )


def test_of_two_tools_with_one_name_the_later_is_told() -> None:
    """Clients that gather tools from several servers send such lists, and run the one that they have seen last."""
    other = {**WEATHER, "description": "Weather then"}
    tools = [*TOOLS, {"type": "function", "function": other}]
    assert generation(tools=tools).conversation.tools == (
        Tool("get_weather", "Weather then", {"type": "object"}),
        Tool("clock"),
    )


CLOCK_ALONE = frozenset({"clock"})
NAMED_CLOCK = {"type": "function", "function": {"name": "clock"}}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, ToolChoice()),
        ("auto", ToolChoice()),
        ("required", ToolChoice("required")),
        ("none", ToolChoice("none")),
        (NAMED_CLOCK, ToolChoice("required", CLOCK_ALONE, most_calls=1)),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [NAMED_CLOCK]}},
            ToolChoice("auto", CLOCK_ALONE),
        ),
        ({"type": "custom", "custom": {"name": "clock"}}, ToolChoice("required", CLOCK_ALONE, most_calls=1)),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "custom", "custom": {"name": "clock"}}]},
            },
            ToolChoice("auto", CLOCK_ALONE),
        ),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [NAMED_CLOCK]}},
            ToolChoice("required", CLOCK_ALONE),
        ),
    ],
)
def test_a_tool_choice_leaves_the_prompt_alone(choice: Any, expected: ToolChoice) -> None:
    asked = generation(tools=TOOLS, tool_choice=choice)
    assert asked.tool_choice == expected
    assert [tool.name for tool in asked.conversation.tools] == ["get_weather", "clock"]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, ToolChoice(most_calls=1)),
        ("auto", ToolChoice(most_calls=1)),
        ("none", ToolChoice("none", most_calls=1)),
        ({"name": "clock"}, ToolChoice("required", CLOCK_ALONE, most_calls=1)),
    ],
)
def test_the_deprecated_function_choice(choice: Any, expected: ToolChoice) -> None:
    """Its answers have room for one call."""
    assert generation(functions=[WEATHER, CLOCK], function_call=choice).tool_choice == expected


def test_one_call_at_a_time_if_the_caller_says_so() -> None:
    assert generation(tools=TOOLS, parallel_tool_calls=False).tool_choice == ToolChoice(most_calls=1)


def test_what_is_required_must_be_declared() -> None:
    with pytest.raises(BadRequest, match="requires a call"):
        generation(tool_choice="required")


def test_what_is_required_must_be_allowed() -> None:
    choice: dict[str, Any] = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": []}}
    with pytest.raises(BadRequest, match="requires a call") as refused:
        generation(tools=TOOLS, tool_choice=choice)
    assert refused.value.param == "tool_choice"


@pytest.mark.parametrize(
    ("asked_for", "schema"),
    [
        (None, None),
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "object"}),
        ({"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "array"}}}, {"type": "array"}),
    ],
)
def test_a_response_format_is_the_answers_schema(asked_for: Any, schema: Any) -> None:
    assert generation(response_format=asked_for).answer_schema == schema


@pytest.mark.parametrize(("strict", "enforced"), [({}, True), ({"strict": False}, False), ({"strict": True}, True)])
def test_an_answer_is_as_strict_as_its_caller_says(strict: dict[str, Any], enforced: bool) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "array"}, **strict}}
    assert generation(response_format=form).strict_answer is enforced


def test_strict_functions_stay_strict() -> None:
    strict = {"type": "function", "function": {"name": "f", "strict": True, "parameters": {"type": "object"}}}
    assert generation(tools=[strict]).conversation.tools == (Tool("f", "", {"type": "object"}, strict=True),)


def test_sampling_defaults_leave_the_distribution_alone() -> None:
    asked = generation()
    assert asked.sampling == Sampling()
    assert (asked.max_tokens, asked.stop) == (None, ())


def test_every_sampling_option_arrives() -> None:
    asked = generation(
        temperature=0,
        top_p=0.5,
        top_k=40,
        min_p=0.1,
        seed=-7,
        presence_penalty=1,
        frequency_penalty=-2,
        repetition_penalty=1.1,
        logit_bias={"50256": -100, "0": 1.5},
        logprobs=True,
        top_logprobs=20,
        stop=["a", "b"],
        max_tokens=5,
    )
    assert asked.sampling == Sampling(
        temperature=0,
        top_p=0.5,
        top_k=40,
        min_p=0.1,
        seed=-7 % 2**63,
        presence_penalty=1,
        frequency_penalty=-2,
        repetition_penalty=1.1,
        logit_bias={50256: -100, 0: 1.5},
        top_logprobs=20,
    )
    assert (asked.max_tokens, asked.stop) == (5, ("a", "b"))


def test_values_that_mean_no_limit() -> None:
    asked = generation(top_k=-1, top_p=0, logprobs=True, stop="end", max_tokens=9, max_completion_tokens=3)
    assert asked.sampling.top_k == 0
    assert asked.sampling.top_p == SMALLEST_TOP_P
    assert asked.sampling.top_logprobs == 0
    assert asked.stop == ("end",)
    assert asked.max_tokens == 3


def test_explicit_nulls_are_as_good_as_nothing() -> None:
    optional = [name for name, field in ChatRequest.model_fields.items() if not field.is_required()]
    nulls = generation(**dict.fromkeys(optional, None))
    assert nulls == generation()


def test_no_alternatives_need_no_log_probabilities() -> None:
    """Clients that send all their settings send these with the others."""
    assert generation(logprobs=False, top_logprobs=0).sampling.top_logprobs is None


def test_choices_differ_in_their_seed() -> None:
    asked = generations(n=3, seed=2**63 - 2)
    assert [each.sampling.seed for each in asked] == [2**63 - 2, 2**63 - 1, 0]
    assert len(generations(n=4)) == 4


@pytest.mark.parametrize(
    ("fields", "effort"),
    [
        ({}, "medium"),
        ({"temperature": 0}, "low"),
        ({"temperature": 0.3}, "low"),
        ({"temperature": 0.31}, "medium"),
        ({"temperature": 0.79}, "medium"),
        ({"temperature": 0.8}, "high"),
        ({"temperature": 2}, "high"),
        ({"temperature": 2, "reasoning_effort": "low"}, "low"),
        ({"temperature": 0, "reasoning": {"effort": "high"}}, "high"),
        ({"temperature": 0, "reasoning": {"effort": None}}, "low"),
        ({"reasoning_effort": "medium", "reasoning": {"effort": "high"}}, "medium"),
        ({"reasoning_effort": "none"}, "low"),
        ({"reasoning_effort": "minimal"}, "low"),
        ({"reasoning_effort": "xhigh"}, "high"),
        ({"reasoning_effort": "max"}, "high"),
    ],
)
def test_reasoning_level(fields: dict[str, Any], effort: str) -> None:
    assert generation(**fields).conversation.reasoning_effort == effort


def test_a_schema_is_asked_for_after_the_callers_instructions() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    asked = generation(
        messages=[{"role": "system", "content": "Be brief."}, *HELLO],
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "out", "description": "A\nB", "schema": schema},
        },
    )
    assert asked.conversation.items == (
        Instructions("Be brief."),
        Instructions(f"# Response Formats\n\n## out\n\n// A\n// B\n{json.dumps(schema, separators=(',', ':'))}"),
        UserText("Hello"),
    )


@pytest.mark.parametrize(("kind", "added"), [("text", 0), ("json_object", 1)])
def test_simpler_response_formats(kind: str, added: int) -> None:
    assert len(generation(response_format={"type": kind}).conversation.items) == 1 + added


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("image_url", "images"),
        ("input_audio", "audio"),
        ("file", "files"),
        ("video_url", "video"),
        ("xyzzy", "parts of this type"),
    ],
)
def test_what_is_no_text_is_refused_and_says_so(kind: str, said: str) -> None:
    parts = [{"type": "text", "text": "What is this?"}, {"type": kind, kind: {"url": "http://169.254.169.254/"}}]
    error = refusal(messages=[*HELLO, {"role": "user", "content": parts}])
    assert error.param == "messages[1].content[1]"
    assert f"text model, it can not take {said}" in error.message
    assert "169.254" not in error.message


LONG_NAME = "x" * 129


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": HELLO * 4097}, "messages"),
        ({"messages": [{"content": "Hello"}]}, "messages[0].role"),
        ({"messages": [{"role": "wizard", "content": "Hello"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": {"text": "Hello"}}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["Hello"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"text": "Hello"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "tool", "tool_call_id": "x", "content": "1"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "tool", "content": "1"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "function", "content": "1"}]}, "messages[0].name"),
        ({"messages": [{"role": "function", "name": "a b", "content": "1"}]}, "messages[0].name"),
        ({"messages": [{"role": "assistant", "tool_calls": [call("a b")]}]}, "messages[0].tool_calls[0].function.name"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "1"}]}]}, "messages[0].tool_calls[0]"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{**call(), "type": "custom"}]}]},
            "messages[0].tool_calls[0]",
        ),
        ({"tools": [{"type": "custom"}]}, "tools[0]"),
        ({"tools": [{"type": "custom", "custom": {"name": "a b"}}]}, "tools[0].custom.name"),
        (
            {"tools": [{"type": "custom", "custom": {"name": "a", "format": {"type": "grammar"}}}]},
            "tools[0].custom.format",
        ),
        ({"tools": TOOLS, "tool_choice": {"type": "custom"}}, "tool_choice"),
        ({"verbosity": "chatty"}, "verbosity"),
        (
            {
                "messages": [
                    {"role": "assistant", "tool_calls": [call() | {"function": {"name": "a", "arguments": {}}}]}
                ]
            },
            "messages[0].tool_calls[0].function.arguments",
        ),
        ({"model": None}, "model"),
        ({"tools": [{"type": "function"}]}, "tools[0]"),
        ({"tools": [{"type": "function", "function": {"name": ""}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "a\u200b\x07"}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "a<|end|>"}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": LONG_NAME}}]}, "tools[0].function.name"),
        (
            {"tools": [{"type": "function", "function": {"name": "a", "parameters": "x"}}]},
            "tools[0].function.parameters",
        ),
        ({"tools": TOOLS * 129}, "tools"),
        ({"tools": TOOLS, "tool_choice": "sometimes"}, "tool_choice.type"),
        ({"tools": TOOLS, "tool_choice": {"type": "function"}}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "nope"}}}, "tool_choice"),
        ({"functions": [CLOCK], "function_call": {"name": "nope"}}, "function_call"),
        ({"functions": [CLOCK], "function_call": {}}, "function_call.name"),
        ({"functions": [CLOCK], "function_call": {"name": 3}}, "function_call.name"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": 1.1}, "top_p"),
        ({"top_k": -2}, "top_k"),
        ({"top_k": 1.5}, "top_k"),
        ({"min_p": 1.1}, "min_p"),
        ({"seed": 2**63}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"presence_penalty": 2.1}, "presence_penalty"),
        ({"frequency_penalty": -2.1}, "frequency_penalty"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"logit_bias": {"a": 1}}, "logit_bias"),
        ({"logit_bias": {"-1": 1}}, "logit_bias"),
        ({"logit_bias": {"1234567": 1}}, "logit_bias"),
        ({"logit_bias": {"1": 101}}, "logit_bias"),
        ({"logit_bias": {"1": "x"}}, "logit_bias"),
        ({"logit_bias": {"1": True}}, "logit_bias"),
        ({"logit_bias": [1]}, "logit_bias"),
        ({"logit_bias": {str(token): 1 for token in range(1025)}}, "logit_bias"),
        ({"logprobs": 1}, "logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": -1}, "top_logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"stop": ["a"] * 17}, "stop"),
        ({"stop": 5}, "stop"),
        ({"stop": ["a", 5]}, "stop[1]"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 2**31}, "max_tokens"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"reasoning_effort": "hard"}, "reasoning_effort"),
        ({"reasoning": {"effort": 3}}, "reasoning.effort"),
        ({"modalities": ["text", "audio"]}, "modalities"),
    ],
)
def test_wrong_types_and_ranges_name_their_field(fields: dict[str, Any], param: str) -> None:
    assert refusal(**fields).param == param


@pytest.mark.parametrize("name", ["mcp__fs__read-text.file", "a/b", "7up", "größe", "x" * 128, "server:tool", "<x>"])
def test_names_that_real_clients_send_are_taken(name: str) -> None:
    tools = [{"type": "function", "function": {"name": name}}]
    assert generation(tools=tools).conversation.tools[0].name == name


def test_fields_that_do_not_matter_here_are_ignored() -> None:
    assert (
        generation(
            user="u",
            metadata={"a": "b"},
            store=True,
            service_tier="auto",
            prediction={"type": "content", "content": "x"},
            parallel_tool_calls=True,
            ignore_eos=True,
            stream_options={"include_usage": True, "continuous_usage_stats": True},
            prompt_cache_key="k",
            verbosity="medium",
            moderation={"model": "omni-moderation-latest"},
            audio={"format": "mp3", "voice": "alloy"},
            safety_identifier="s",
            web_search_options={},
            chat_template_kwargs={"enable_thinking": False},
        )
        == generation()
    )
