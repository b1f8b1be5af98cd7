"""Responses requests as canonical ones: every item, every form of a tool, and what is refused with its place."""

from __future__ import annotations

from typing import Any

import pytest

from llm_server.api.body import validate
from llm_server.api.openai_responses.items import read_items
from llm_server.api.openai_responses.reader import SUMMARY, History
from llm_server.api.openai_responses.request import check_supported, to_generation, toolbox
from llm_server.api.openai_responses.schema import ResponseRequest
from llm_server.api.verbosity import VERBOSITY
from llm_server.conversation import (
    AssistantText,
    Freeform,
    GenerationRequest,
    Instructions,
    Item,
    Reasoning,
    Sampling,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    UserText,
)
from llm_server.errors import BadRequest

READ: dict[str, Any] = {"type": "function", "name": "read", "description": "Reads", "parameters": {"type": "object"}}
PATCH: dict[str, Any] = {"type": "custom", "name": "apply_patch", "description": "Edits"}
LARK = {"type": "grammar", "syntax": "lark", "definition": 'start: "x"'}
AGENTS: dict[str, Any] = {
    "type": "namespace",
    "name": "agents",
    "description": "About agents.",
    "tools": [
        {"type": "function", "name": "close", "description": "Closes.", "parameters": {"type": "object"}},
        {"type": "custom", "name": "say", "description": "Says.", "format": LARK},
    ],
}


def mapped(**body: Any) -> GenerationRequest:
    asked = validate(ResponseRequest, {"model": "m", "input": "Hi", **body})
    check_supported(asked)
    history = History(read_items(asked.input or []), {"sealed": "A summary."}.get)
    return to_generation(asked, history, toolbox(asked, history))


def items(*raw: Any, **body: Any) -> list[Item]:
    return list(mapped(input=list(raw), **body).conversation.items)


def call(name: str = "read", call_id: str = "call_1", **fields: Any) -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": "{}", **fields}


def output(text: Any, call_id: str = "call_1") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": text}


def refused(**body: Any) -> BadRequest:
    with pytest.raises(BadRequest) as error:
        mapped(**body)
    return error.value


# Messages


def test_a_string_is_one_message_of_the_users() -> None:
    assert mapped(input="Hi").conversation.items == (UserText("Hi"),)
    assert mapped(input="").conversation.items == (UserText(""),)


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ("user", UserText("Hi\nyou")),
        ("assistant", AssistantText("Hi\nyou")),
        ("system", Instructions("Hi\nyou")),
        ("developer", Instructions("Hi\nyou")),
    ],
)
@pytest.mark.parametrize("kind", ["input_text", "output_text", "text"])
@pytest.mark.parametrize("named", [True, False])
def test_messages_of_every_role(role: str, expected: Item, kind: str, named: bool) -> None:
    content = [{"type": kind, "text": "Hi", "annotations": []}, {"type": kind, "text": "you"}]
    message = {"role": role, "content": content, "id": "msg_1", "status": "completed"}
    assert items({"type": "message", **message} if named else message) == [expected]
    assert items({"role": role, "content": "Hi\nyou"}) == [expected]


def test_a_refusal_was_said_and_reasoning_was_not() -> None:
    content = [
        {"type": "reasoning_text", "text": "The zebra."},
        {"type": "refusal", "refusal": "I can not."},
        {"type": "summary_text", "text": "The zebra."},
    ]
    assert items({"role": "assistant", "content": content}) == [AssistantText("I can not.")]


def test_commentary_is_a_preamble() -> None:
    said = {"role": "assistant", "content": "I look."}
    assert items({**said, "phase": "commentary"}) == [AssistantText("I look.", preamble=True)]
    assert items({**said, "phase": "final_answer"}, {**said, "phase": None}) == [AssistantText("I look.")] * 2


@pytest.mark.parametrize("content", [[], None, "", [{"type": "output_text", "text": ""}]])
def test_an_empty_message_of_the_assistant_is_none(content: Any) -> None:
    assert items({"role": "assistant", "content": content}, {"role": "system", "content": content}) == []


def test_instructions_come_first_and_formats_after_them() -> None:
    text = {"verbosity": "low", "format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}}
    told = items({"role": "developer", "content": "B"}, {"role": "user", "content": "C"}, instructions="A", text=text)
    assert told[:3] == [Instructions("A"), Instructions("B"), Instructions(VERBOSITY["low"])]
    assert isinstance(told[3], Instructions)
    assert told[3].text.startswith("# Response Formats\n\n## n")
    assert told[4:] == [UserText("C")]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
        {"type": "input_file", "file_id": "file_1"},
        {"type": "input_audio", "input_audio": {}},
        {"type": "hologram"},
        {"type": "input_text"},
    ],
)
def test_what_is_no_text_is_refused_where_it_stands(part: Any) -> None:
    error = refused(input=[{"role": "user", "content": "Hi"}, {"role": "user", "content": [part]}])
    assert error.param == "input[1].content[0]"
    assert "text model" in error.message


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ({"role": "tool", "content": "x"}, "input[0].role"),
        ({"role": "user", "content": 7}, "input[0].content"),
        ({"role": "user", "content": [{"type": "input_text", "text": 7}]}, "input[0].content[0].text"),
        ({"type": "function_call", "name": "read", "arguments": "{}"}, "input[0].call_id"),
        ({"type": "function_call", "call_id": "c", "name": "two words", "arguments": "{}"}, "input[0].name"),
        ({"type": "function_call", "call_id": "c", "name": "<|end|>", "arguments": "{}"}, "input[0].name"),
        ({"type": "compaction", "encrypted_content": None}, "input[0].encrypted_content"),
    ],
)
def test_a_wrong_item_is_named(item: Any, param: str) -> None:
    assert refused(input=[item]).param == param


# Calls


def test_an_output_bears_the_name_of_its_call() -> None:
    told = items(call(), output("done"), call("write", "call_2"), output("done, too", "call_2"))
    assert told == [
        ToolCall("call_1", "read", "{}"),
        ToolResult("call_1", "read", "done"),
        ToolCall("call_2", "write", "{}"),
        ToolResult("call_2", "write", "done, too"),
    ]


def test_an_output_has_parts_and_media_are_left_out() -> None:
    parts = [
        {"type": "input_text", "text": "a"},
        {"type": "input_image", "image_url": "x"},
        {"type": "text", "text": "b"},
    ]
    result = items(call(), output(parts))[1]
    assert isinstance(result, ToolResult)
    assert result.text == "a\n[images left out: this model reads text only]\nb"


def test_an_output_without_its_call_is_refused_unless_it_says_whose_it_is() -> None:
    error = refused(input=[{"role": "user", "content": "Hi"}, output("?", "call_9")])
    assert error.param == "input[1].call_id"
    assert items({**output("x", "call_9"), "name": "read"}) == [ToolResult("call_9", "read", "x")]


def test_an_output_of_a_call_that_nobody_made_says_whose_it_is() -> None:
    """As Codex tells of a goal that the user has set."""
    goal = {
        "type": "function_call_output",
        "id": "fco_1",
        "name": "goal_objective",
        "namespace": "agent",
        "output": "x",
    }
    assert items(goal) == [ToolResult("", "agent.goal_objective", "x")]
    assert refused(input=[{"type": "function_call_output", "output": "x"}]).param == "input[0].call_id"


def test_custom_calls_are_plain_text() -> None:
    told = items(
        {"type": "custom_tool_call", "call_id": "c", "name": "apply_patch", "input": "*** Begin"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "Done."},
        tools=[PATCH],
    )
    assert told == [ToolCall("c", "apply_patch", "*** Begin"), ToolResult("c", "apply_patch", "Done.")]


@pytest.mark.parametrize("namespace", ["agents", None])
def test_a_call_of_a_namespace_is_known_again(namespace: str | None) -> None:
    """Also from a client that has dropped the namespace."""
    told = items(call("close", namespace=namespace), output("Done."), tools=[READ, AGENTS])
    assert told == [ToolCall("call_1", "agents.close", "{}"), ToolResult("call_1", "agents.close", "Done.")]


def test_a_call_that_was_cut_off_never_was_one() -> None:
    assert items(call(status="incomplete"), {"role": "user", "content": "Go on"}) == [UserText("Go on")]


def test_a_call_that_was_cut_off_was_one_if_it_was_answered() -> None:
    """Agents answer it as any other, most often by saying that its arguments are no JSON."""
    told = items(call(status="incomplete", arguments='{"pa'), output("Invalid JSON."))
    assert told == [ToolCall("call_1", "read", '{"pa'), ToolResult("call_1", "read", "Invalid JSON.")]


def test_sealed_reasoning_stands_where_it_was() -> None:
    told = items({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "seal"}, call())
    assert told == [Reasoning("seal"), ToolCall("call_1", "read", "{}")]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (
            [
                {
                    "type": "local_shell_call",
                    "id": "lsh_1",
                    "call_id": "c",
                    "action": {"type": "exec", "command": ["ls"]},
                },
                {"type": "local_shell_call_output", "id": "c", "output": "a.txt"},
            ],
            [
                ToolCall("c", "local_shell", '{"type":"exec","command":["ls"]}'),
                ToolResult("c", "local_shell", "a.txt"),
            ],
        ),
        (
            [
                {"type": "shell_call", "call_id": "c", "action": {"commands": ["ls"]}},
                {
                    "type": "shell_call_output",
                    "call_id": "c",
                    "output": [
                        {"stdout": "a", "stderr": "b", "outcome": {"type": "exit", "exit_code": 1}},
                        {"stdout": "", "stderr": "", "outcome": {"type": "timeout"}},
                    ],
                },
            ],
            [ToolCall("c", "shell", '{"commands":["ls"]}'), ToolResult("c", "shell", "a\nb\nExit code: 1\nTimed out.")],
        ),
        (
            [
                {"type": "apply_patch_call", "call_id": "c", "operation": {"type": "delete_file", "path": "a"}},
                {"type": "apply_patch_call_output", "call_id": "c", "status": "completed"},
            ],
            [
                ToolCall("c", "apply_patch", '{"type":"delete_file","path":"a"}'),
                ToolResult("c", "apply_patch", "completed"),
            ],
        ),
        (
            [
                {
                    "type": "mcp_call",
                    "id": "mcp_1",
                    "name": "find",
                    "arguments": "{}",
                    "output": "x",
                    "server_label": "s",
                }
            ],
            [ToolCall("mcp_1", "find", "{}"), ToolResult("mcp_1", "find", "x")],
        ),
    ],
)
def test_calls_of_tools_that_are_not_offered_here_are_history_all_the_same(raw: Any, expected: list[Item]) -> None:
    assert items(*raw) == expected


@pytest.mark.parametrize(
    "item",
    [
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}},
        {"type": "reasoning", "summary": [], "encrypted_content": None},
        {"type": "mcp_list_tools", "id": "x", "tools": []},
        {"type": "program", "id": "x"},
        {"type": "tomorrows_item", "content": {"a": [1]}},
        {},
    ],
)
def test_what_says_nothing_to_a_text_model_is_passed_over(item: Any) -> None:
    assert items({"role": "user", "content": "Hi"}, item) == [UserText("Hi")]


def test_a_compacted_conversation_is_its_summary() -> None:
    assert items({"type": "compaction", "encrypted_content": "sealed"}) == [UserText(f"{SUMMARY}A summary.")]
    error = refused(input=[{"type": "compaction", "encrypted_content": "another's"}])
    assert error.param == "input[0].encrypted_content"


def test_tools_may_come_with_the_conversation() -> None:
    found = {"type": "tool_search_output", "id": "x", "tools": [AGENTS, READ]}
    request = mapped(input=[{"role": "user", "content": "Hi"}, found], tools=[READ, {"type": "tool_search"}])
    assert request.conversation.items == (UserText("Hi"), Instructions("", ("agents.close", "agents.say")))
    assert [(tool.name, tool.deferred) for tool in request.conversation.tools] == [
        ("read", False),
        ("agents.close", True),
        ("agents.say", True),
    ]


# Tools


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        (READ, Tool("read", "Reads", {"type": "object"})),
        ({**READ, "strict": True}, Tool("read", "Reads", {"type": "object"}, strict=True)),
        ({"type": "function", "name": "now"}, Tool("now")),
        (PATCH, Tool("apply_patch", "Edits", freeform=Freeform())),
        ({**PATCH, "format": {"type": "text"}}, Tool("apply_patch", "Edits", freeform=Freeform())),
        ({**PATCH, "format": LARK}, Tool("apply_patch", "Edits", freeform=Freeform("lark", 'start: "x"'))),
        (
            {**PATCH, "format": {"type": "grammar", "syntax": "regex", "definition": "a+"}},
            Tool("apply_patch", "Edits", freeform=Freeform("regex", "a+")),
        ),
    ],
)
def test_tools_of_the_callers(tool: Any, expected: Tool) -> None:
    assert mapped(tools=[tool]).conversation.tools == (expected,)


def test_a_namespace_is_its_tools_and_its_description_stands_before_the_first() -> None:
    assert mapped(tools=[AGENTS]).conversation.tools == (
        Tool("agents.close", "About agents.\nCloses.", {"type": "object"}),
        Tool("agents.say", "Says.", freeform=Freeform("lark", 'start: "x"')),
    )


def test_a_namespace_with_a_separator_of_its_own_keeps_it() -> None:
    tools = mapped(tools=[{**AGENTS, "name": "mcp__fs__"}]).conversation.tools
    assert [tool.name for tool in tools] == ["mcp__fs__close", "mcp__fs__say"]


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "web_search", "external_web_access": False},
        {"type": "tool_search", "execution": "client", "parameters": None},
        {"type": "mcp", "server_label": "x", "name": 7, "tools": "all"},
        {"type": "code_interpreter", "container": {"type": "auto"}},
        {"type": "tomorrows_tool", "format": "odd"},
    ],
)
def test_hosted_tools_are_left_out_and_named(tool: Any) -> None:
    asked = validate(ResponseRequest, {"model": "m", "input": "Hi", "tools": [READ, tool]})
    box = toolbox(asked, History([], lambda _: None))
    assert [each.name for each in box.tools] == ["read"]
    assert box.left_out == (tool["type"],)


@pytest.mark.parametrize(
    ("tool", "param"),
    [
        ({"type": "function"}, "tools[0]"),
        ({"type": "function", "name": "two words"}, "tools[0]"),
        ({"type": "custom", "name": "x<|end|>"}, "tools[0]"),
        ({**PATCH, "format": {"type": "grammar"}}, "tools[0].format"),
        ({**READ, "parameters": "none"}, "tools[0].parameters"),
        ({}, "tools[0].type"),
    ],
)
def test_a_wrong_tool_is_named(tool: Any, param: str) -> None:
    assert refused(tools=[tool]).param == param


CLOSE_ONLY = frozenset({"agents.close"})
READ_ONLY = frozenset({"read"})


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, ToolChoice()),
        ("auto", ToolChoice()),
        ("none", ToolChoice("none")),
        ("required", ToolChoice("required")),
        ({"type": "function", "name": "read"}, ToolChoice("required", READ_ONLY, most_calls=1)),
        ({"type": "custom", "name": "apply_patch"}, ToolChoice("required", frozenset({"apply_patch"}), most_calls=1)),
        ({"type": "function", "name": "close"}, ToolChoice("required", CLOSE_ONLY, most_calls=1)),
        ({"type": "function", "name": "agents.close"}, ToolChoice("required", CLOSE_ONLY, most_calls=1)),
        (
            {"type": "function", "name": "close", "namespace": "agents"},
            ToolChoice("required", CLOSE_ONLY, most_calls=1),
        ),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "read"}]},
            ToolChoice("auto", READ_ONLY),
        ),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "namespace", "name": "agents"}]},
            ToolChoice("required", frozenset({"agents.close", "agents.say"})),
        ),
        (
            {"type": "allowed_tools", "tools": [{"type": "function", "name": "read"}, {"type": "web_search"}]},
            ToolChoice("auto", READ_ONLY),
        ),
        ({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "web_search"}]}, ToolChoice("auto", frozenset())),
    ],
)
def test_the_choice_of_tools_in_every_form(choice: Any, expected: ToolChoice) -> None:
    assert mapped(tools=[READ, PATCH, AGENTS], tool_choice=choice).tool_choice == expected


@pytest.mark.parametrize(
    "choice",
    [
        {"type": "function", "name": "write"},
        {"type": "web_search"},
        {"type": "mcp", "server_label": "x"},
        {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "write"}]},
        {"type": "allowed_tools", "mode": "required", "tools": [{"type": "web_search"}]},
        {"type": "function", "name": "read", "namespace": "agents"},
    ],
)
def test_a_call_that_is_not_possible_can_not_be_required(choice: Any) -> None:
    assert refused(tools=[READ], tool_choice=choice).param == "tool_choice"


def test_nothing_can_be_required_of_no_tools() -> None:
    assert refused(tools=[{"type": "web_search"}], tool_choice="required").param == "tool_choice"


@pytest.mark.parametrize("choice", ["none", {"type": "allowed_tools", "tools": [{"type": "web_search"}]}])
def test_tools_that_may_not_be_called_stay_in_the_prompt(choice: Any) -> None:
    asked = mapped(tools=[READ], tool_choice=choice)
    assert asked.callable_tools == ()
    assert asked.conversation == mapped(tools=[READ]).conversation


def test_calls_one_at_a_time() -> None:
    assert mapped(tools=[READ], parallel_tool_calls=False).tool_choice == ToolChoice(most_calls=1)
    assert mapped(tools=[READ], max_tool_calls=3).tool_choice == ToolChoice(most_calls=3)
    assert mapped(tools=[READ], max_tool_calls=3, parallel_tool_calls=False).tool_choice == ToolChoice(most_calls=1)


# The other fields


def test_sampling() -> None:
    given = {
        "temperature": 0.5,
        "top_p": 0.0,
        "top_k": -1,
        "min_p": 0.1,
        "seed": 7,
        "presence_penalty": 1,
        "frequency_penalty": -1.5,
        "repetition_penalty": 1.1,
    }
    assert mapped(**given).sampling == Sampling(0.5, 1e-6, 0, 0.1, 7, 1, -1.5, 1.1)
    assert mapped().sampling == Sampling()
    assert mapped(stop="END").stop == ("END",)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"include": ["message.output_text.logprobs"]}, 0),
        ({"include": ["message.output_text.logprobs"], "top_logprobs": 5}, 5),
        ({"top_logprobs": 5}, 5),
        ({"top_logprobs": 0}, None),
        ({"include": ["file_search_call.results", "tomorrows.detail"]}, None),
    ],
)
def test_logprobs(body: Any, expected: int | None) -> None:
    assert mapped(**body).sampling.top_logprobs == expected


@pytest.mark.parametrize(
    ("body", "effort"),
    [
        ({}, "medium"),
        ({"reasoning": None}, "medium"),
        ({"reasoning": {"summary": "auto"}}, "medium"),
        ({"reasoning": {"effort": "none"}}, "low"),
        ({"reasoning": {"effort": "xhigh"}}, "high"),
        ({"temperature": 0.1}, "low"),
        ({"temperature": 0.1, "reasoning": {"effort": "high"}}, "high"),
    ],
)
def test_effort(body: Any, effort: str) -> None:
    assert mapped(**body).conversation.reasoning_effort == effort


@pytest.mark.parametrize(
    ("text", "schema"),
    [
        (None, None),
        ({"format": {"type": "text"}}, None),
        ({"verbosity": "high"}, None),
        ({"format": {"type": "json_object"}}, {"type": "object"}),
        ({"format": {"type": "json_schema", "name": "n", "schema": {"type": "array"}}}, {"type": "array"}),
    ],
)
def test_the_answers_schema(text: Any, schema: Any) -> None:
    assert mapped(text=text).answer_schema == schema


@pytest.mark.parametrize(("strict", "enforced"), [({}, True), ({"strict": False}, False), ({"strict": True}, True)])
def test_an_answer_is_as_strict_as_the_response_says(strict: dict[str, Any], enforced: bool) -> None:
    form = {"type": "json_schema", "name": "n", "schema": {"type": "array"}, **strict}
    assert mapped(text={"format": form}).strict_answer is enforced


@pytest.mark.parametrize("verbosity", ["low", "medium", "high"])
def test_verbosity_is_told_unless_it_is_the_models_own(verbosity: str) -> None:
    told = [
        item.text for item in mapped(text={"verbosity": verbosity}).conversation.items if isinstance(item, Instructions)
    ]
    assert len(told) == (verbosity != "medium")


def test_the_limit_is_the_rest_of_the_context_unless_it_is_said() -> None:
    assert mapped().max_tokens is None
    assert mapped(max_output_tokens=1).max_tokens == 1


def test_what_is_null_or_unknown_is_not_there() -> None:
    nothing = dict.fromkeys(
        ("tools", "tool_choice", "text", "include", "metadata", "instructions", "truncation", "store", "background"),
        None,
    )
    unknown = {"client_metadata": {"a": 1}, "tomorrows_field": [1], "stream_options": {"include_obfuscation": False}}
    assert mapped(**nothing, **unknown) == mapped()


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": None}, "model"),
        ({"input": 7}, "input"),
        ({"input": ["Hi"]}, "input[0]"),
        ({"temperature": 3}, "temperature"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"reasoning": {"effort": "enormous"}}, "reasoning.effort"),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format"),
        ({"text": {"verbosity": "silent"}}, "text.verbosity"),
        ({"truncation": "middle"}, "truncation"),
        ({"metadata": {"a": 7}}, "metadata"),
        ({"metadata": {"a" * 65: "b"}}, "metadata"),
        ({"metadata": {str(number): "b" for number in range(17)}}, "metadata"),
        ({"tool_choice": 7}, "tool_choice"),
        ({"background": True}, "background"),
        ({"conversation": {"id": "conv_1"}}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"moderation": {"model": "omni-moderation"}}, "moderation"),
        ({"input": [{"type": "compaction_trigger"}]}, "input[0]"),
    ],
)
def test_what_can_not_be_done_is_refused_by_name(body: Any, param: str) -> None:
    assert refused(**body).param == param
