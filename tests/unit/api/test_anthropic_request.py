"""Messages wire JSON to the canonical request. The bodies have the shapes that real clients send."""

from __future__ import annotations

from typing import Any

import pytest

from llm_server.api.anthropic.content import SUMMARY
from llm_server.api.anthropic.request import reasoning_blocks, to_conversation, to_generation
from llm_server.api.anthropic.schema import MAX_MESSAGES, CountTokensRequest, MessagesRequest
from llm_server.api.body import validate
from llm_server.conversation import (
    AssistantText,
    Conversation,
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
from llm_server.harmony.render import render

Wire = dict[str, Any]

SCHEMA: Wire = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
READ: Wire = {"name": "Read", "description": "Reads a file.", "input_schema": SCHEMA}
CALL: Wire = {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"path": "é.txt", "n": 1.5}}
RESULT: Wire = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "rain"}


def generation(**fields: Any) -> GenerationRequest:
    body = {"model": "gpt-oss-20b", "max_tokens": 64, "messages": [{"role": "user", "content": "Hi"}], **fields}
    return to_generation(validate(MessagesRequest, body))


def conversation(**fields: Any) -> Conversation:
    return generation(**fields).conversation


def items(*messages: Wire, **fields: Any) -> tuple[Item, ...]:
    return conversation(messages=list(messages), **fields).items


def user(*blocks: Wire | str) -> Wire:
    return {"role": "user", "content": [text(block) if isinstance(block, str) else block for block in blocks]}


def assistant(*blocks: Wire | str) -> Wire:
    return {**user(*blocks), "role": "assistant"}


def text(words: str) -> Wire:
    return {"type": "text", "text": words, "cache_control": {"type": "ephemeral"}}


def result(content: Any = "42", **fields: Any) -> Wire:
    return {"type": "tool_result", "tool_use_id": "toolu_1", "content": content, **fields}


def result_text(content: Any = "42", **fields: Any) -> str:
    last = items(user("Hi"), assistant(CALL), user(result(content, **fields)))[-1]
    assert isinstance(last, ToolResult)
    return last.text


# What is said


def test_turns_keep_their_order_and_roles() -> None:
    said = items(user("One"), {"role": "assistant", "content": "Two"}, {"role": "user", "content": "Three"})
    assert said == (UserText("One"), AssistantText("Two"), UserText("Three"))


@pytest.mark.parametrize("system", ["Be brief.", [text("Be brief.")]])
def test_system_is_a_string_or_blocks(system: Any) -> None:
    assert items(user("Hi"), system=system) == (Instructions("Be brief."), UserText("Hi"))


def test_each_system_block_stays_its_own() -> None:
    """So that one of them may change without the others."""
    said = items(user("Hi"), system=[text("One"), text("Two")])
    assert said == (Instructions("One"), Instructions("Two"), UserText("Hi"))


@pytest.mark.parametrize("content", ["Be brief.", [text("Be brief.")]])
def test_a_system_message_stands_where_it_was_said(content: Any) -> None:
    said = items(user("Hi"), {"role": "system", "content": content}, user("Again"))
    assert said == (UserText("Hi"), Instructions("Be brief."), UserText("Again"))


@pytest.mark.parametrize(
    ("clear_at", "followed", "shown"),
    [("next_user_message", True, False), ("next_user_message", False, True), ("never", True, True)],
)
def test_a_passing_system_message_is_gone_with_the_next_user_message(
    clear_at: str, followed: bool, shown: bool
) -> None:
    message = {"role": "system", "content": "Now.", "clear_at": clear_at}
    said = items(user("Hi"), message, *([user("Again")] if followed else []))
    assert (Instructions("Now.") in said) == shown


def test_neighbouring_texts_of_a_message_are_one() -> None:
    assert items(user("One", "", "Two")) == (UserText("One\n\nTwo"),)


def test_a_message_without_content_says_nothing() -> None:
    assert items(user("Hi"), {"role": "assistant", "content": []}, user("")) == (UserText("Hi"),)


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "at least one message"),
        ([{"role": "user", "content": ""}], "no text to answer"),
        ([{"role": "user", "content": [{"type": "hologram"}]}], "no text to answer"),
    ],
)
def test_an_empty_conversation_is_refused(messages: list[Wire], reason: str) -> None:
    with pytest.raises(BadRequest, match=reason):
        generation(messages=messages)


@pytest.mark.parametrize(
    "last", [assistant("The answer is"), assistant(CALL), assistant({"type": "redacted_thinking", "data": "a seal"})]
)
def test_prefill_is_refused(last: Wire) -> None:
    with pytest.raises(BadRequest, match="prefill"):
        generation(messages=[user("Hi"), last])


def test_prefill_can_be_counted() -> None:
    body = {"model": "m", "messages": [user("Hi"), assistant("The answer is")]}
    assert to_conversation(validate(CountTokensRequest, body)).items[-1] == AssistantText("The answer is")


# Tools


def test_a_tool_turn() -> None:
    thinking = {"type": "thinking", "thinking": "They want the file.", "signature": "c2VhbA=="}
    said = items(user("Read it"), assistant(thinking, "I look.", CALL), user(result(is_error=False), "Well?"))
    assert said == (
        UserText("Read it"),
        Reasoning("c2VhbA=="),
        AssistantText("I look."),
        ToolCall("toolu_1", "Read", '{"path":"é.txt","n":1.5}'),
        ToolResult("toolu_1", "Read", "42"),
        UserText("Well?"),
    )


@pytest.mark.parametrize(("sent", "arguments"), [(None, "{}"), ({}, "{}"), ('{"a": 1}', '{"a": 1}')])
def test_lenient_call_inputs(sent: Any, arguments: str) -> None:
    said = items(user("Hi"), assistant({**CALL, "input": sent}), user(result()))
    assert said[1] == ToolCall("toolu_1", "Read", arguments)


def test_parallel_calls_find_their_names() -> None:
    other = {**CALL, "id": "toolu_2", "name": "Write"}
    results = result("a"), {**result("b"), "tool_use_id": "toolu_2"}
    said = items(user("Hi"), assistant(CALL, other), user(*results))
    assert said[-2:] == (ToolResult("toolu_1", "Read", "a"), ToolResult("toolu_2", "Write", "b"))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, ""),
        ("plain", "plain"),
        ([text("One"), text("Two")], "One\n\nTwo"),
        ([{"type": "tool_reference", "tool_name": "WebFetch"}], "The tool WebFetch can now be called."),
        ([{"type": "image", "source": {}}], "[image left out: this model reads text only]"),
        ([{"type": "browser_state", "tabs": []}, text("One")], "One"),
    ],
)
def test_tool_results_become_text(content: Any, expected: str) -> None:
    assert result_text(content) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [("no such file", "Error: no such file"), ("Error: exit code 1", "Error: exit code 1"), (None, "Error")],
)
def test_a_failed_tool_says_so_once(content: Any, expected: str) -> None:
    assert result_text(content, is_error=True) == expected


def test_a_result_without_its_call_is_refused() -> None:
    with pytest.raises(BadRequest, match="tool_use_id") as refused:
        items(user("Hi"), user(result()))
    assert refused.value.param == "messages[1].content[0]"


@pytest.mark.parametrize("tool", [READ, {**READ, "type": "custom"}, {**READ, "strict": True, "defer_loading": False}])
def test_the_callers_tools_are_offered(tool: Wire) -> None:
    assert conversation(tools=[tool]).tools == (Tool("Read", "Reads a file.", SCHEMA, strict="strict" in tool),)


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 8},
        {"type": "computer_20250124", "name": "computer", "display_width_px": 1024, "display_height_px": 768},
        {"type": "mcp_toolset", "mcp_server_name": "files"},
    ],
)
def test_tools_that_nobody_here_can_run_are_left_out(tool: Wire) -> None:
    assert conversation(tools=[tool, READ]).tools == (Tool("Read", "Reads a file.", SCHEMA),)
    bash = {"type": "bash_20250124", "name": "bash"}
    assert [each.name for each in conversation(tools=[tool, READ, bash]).tools] == ["Read", "bash"]


@pytest.mark.parametrize(
    ("kind", "name", "commands"),
    [
        ("bash_20250124", "bash", None),
        ("text_editor_20250124", "str_replace_editor", ["view", "create", "str_replace", "insert", "undo_edit"]),
        ("text_editor_20250728", "str_replace_based_edit_tool", ["view", "create", "str_replace", "insert"]),
        ("memory_20250818", "memory", ["view", "create", "str_replace", "insert", "delete", "rename"]),
    ],
)
def test_tools_that_every_client_runs_are_offered_with_what_they_take(
    kind: str, name: str, commands: list[str] | None
) -> None:
    [tool] = conversation(tools=[{"type": kind, "name": name}]).tools
    assert (tool.name, bool(tool.description)) == (name, True)
    assert tool.parameters is not None
    assert tool.parameters["properties"]["command"].get("enum") == commands


def test_the_last_definition_of_a_name_holds() -> None:
    assert [tool.description for tool in conversation(tools=[READ, {**READ, "description": "New."}]).tools] == ["New."]


DEFERRED: Wire = {**READ, "defer_loading": True}


SEARCHED: list[Wire] = [
    user("Hi"),
    assistant({**CALL, "name": "ToolSearch"}),
    user(result([{"type": "tool_reference", "tool_name": "Read"}])),
]


def test_a_deferred_tool_waits_for_its_reference_and_is_declared_there() -> None:
    assert conversation(tools=[DEFERRED]).tools == ()
    found = conversation(tools=[DEFERRED], messages=SEARCHED)
    assert [(tool.name, tool.deferred) for tool in found.tools] == [("Read", True)]
    assert found.items[-1] == Instructions("", ("Read",))


def test_a_deferred_tool_is_declared_once() -> None:
    again = [assistant({**CALL, "id": "toolu_2"}), user({**SEARCHED[2]["content"][0], "tool_use_id": "toolu_2"})]
    said = items(*SEARCHED, *again, tools=[DEFERRED])
    assert said.count(Instructions("", ("Read",))) == 1


def test_a_tool_that_is_found_changes_nothing_before_that_place() -> None:
    search = {"name": "ToolSearch", "input_schema": {}}
    before = conversation(tools=[search, DEFERRED], messages=SEARCHED[:1])
    after = conversation(tools=[search, DEFERRED], messages=SEARCHED)
    tokens, more = render(before).tokens[:-2], render(after).tokens
    assert more[: len(tokens)] == tokens


def test_deferred_tools_are_offered_when_only_anthropic_could_search_them() -> None:
    searcher = {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"}
    assert [tool.name for tool in conversation(tools=[DEFERRED, searcher]).tools] == ["Read"]


def change(kind: str, tool: Wire) -> Wire:
    return {"role": "system", "content": [{"type": kind, "tool": tool}]}


BY_NAME: Wire = {"type": "tool_reference", "name": "Read"}
INLINE: Wire = {"type": "tool_definition", "definition": READ}


@pytest.mark.parametrize(
    ("tools", "changes", "declared", "callable_"),
    [
        ([DEFERRED], [change("tool_addition", BY_NAME)], [("Read", True)], None),
        ([], [change("tool_addition", INLINE)], [("Read", True)], None),
        ([READ], [change("tool_removal", BY_NAME)], [("Read", False)], frozenset()),
        ([READ], [change("tool_removal", BY_NAME), change("tool_addition", BY_NAME)], [("Read", False)], None),
    ],
)
def test_tools_change_in_the_middle_of_a_conversation(
    tools: list[Wire], changes: list[Wire], declared: list[tuple[str, bool]], callable_: frozenset[str] | None
) -> None:
    asked = generation(tools=tools, messages=[user("Hi"), *changes])
    assert [(tool.name, tool.deferred) for tool in asked.conversation.tools] == declared
    assert asked.tool_choice.names == callable_


def test_a_withdrawn_tool_stays_in_the_prompt_and_can_not_be_chosen() -> None:
    withdrawn = [user("Hi"), change("tool_removal", BY_NAME)]
    asked = generation(tools=[READ, {**READ, "name": "Write"}], messages=withdrawn, tool_choice={"type": "any"})
    assert asked.conversation.items[-1] == Instructions("The tool Read can no longer be called.")
    assert asked.tool_choice == ToolChoice("required", frozenset({"Write"}))
    with pytest.raises(BadRequest, match="tool_choice"):
        generation(tools=[READ], messages=withdrawn, tool_choice={"type": "tool", "name": "Read"})


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, ToolChoice()),
        ({"type": "auto", "disable_parallel_tool_use": True}, ToolChoice(most_calls=1)),
        ({"type": "any"}, ToolChoice("required")),
        ({"type": "none"}, ToolChoice("none")),
        ({"type": "tool", "name": "Write"}, ToolChoice("required", frozenset({"Write"}))),
    ],
)
def test_a_tool_choice_leaves_the_prompt_alone(choice: Wire | None, expected: ToolChoice) -> None:
    asked = generation(tools=[READ, {**READ, "name": "Write"}], tool_choice=choice)
    assert asked.tool_choice == expected
    assert [tool.name for tool in asked.conversation.tools] == ["Read", "Write"]


@pytest.mark.parametrize("field", ["output_config", "output_format"])
def test_an_output_format_is_the_answers_schema_and_the_model_is_told(field: str) -> None:
    wanted = {"type": "json_schema", "schema": {"type": "object"}}
    asked = generation(**{field: {"format": wanted} if field == "output_config" else wanted})
    assert asked.answer_schema == {"type": "object"}
    assert asked.conversation.items[0] == Instructions('# Response Formats\n\n## answer\n\n{"type":"object"}')


def test_a_thinking_budget_bounds_the_reasoning() -> None:
    assert generation(thinking={"type": "enabled", "budget_tokens": 2048}).reasoning_budget == 2048
    assert generation().reasoning_budget is None


def test_a_tool_choice_that_is_not_offered_is_refused() -> None:
    with pytest.raises(BadRequest, match="tool_choice: the tool 'Write' can not be called"):
        generation(tools=[READ], tool_choice={"type": "tool", "name": "Write"})


def test_a_top_k_beyond_any_vocabulary_is_refused() -> None:
    with pytest.raises(BadRequest, match="top_k"):
        generation(top_k=10**7)


@pytest.mark.parametrize("name", ["", "two words", "Read<|call|>", "a" * 129, None])
def test_tool_names_that_could_break_a_header_are_refused(name: str | None) -> None:
    with pytest.raises(BadRequest, match="name"):
        generation(tools=[{**READ, "name": name}])


def test_call_names_that_could_break_a_header_are_refused() -> None:
    with pytest.raises(BadRequest, match="name"):
        generation(messages=[user("Hi"), assistant({**CALL, "name": "Read to=user"}), user(result())])


# What is no plain text


@pytest.mark.parametrize(
    "block",
    [
        {"type": "thinking", "thinking": "secret", "signature": ""},
        {"type": "thinking", "thinking": "secret"},
        {"type": "redacted_thinking", "data": None},
        {"type": "reasoning", "text": "secret"},
        {"type": "web_search_tool_result", "tool_use_id": "unknown", "content": [{"type": "web_search_result"}]},
        {"type": "compaction", "content": None},
        {"type": "fallback", "from": {"model": "a"}, "to": {"model": "b"}},
        {"type": "mcp_tool_listing", "mcp_server_name": "files", "tools": []},
    ],
)
def test_blocks_without_a_meaning_here_are_passed_over(block: Wire) -> None:
    assert items(user("Hi"), assistant(block, "Two"), user("Three"))[1:] == (AssistantText("Two"), UserText("Three"))


@pytest.mark.parametrize(
    "block",
    [
        {"type": "redacted_thinking", "data": "a seal"},
        {"type": "thinking", "thinking": "", "signature": "a seal"},
        {"type": "thinking", "thinking": "Another server's.", "signature": "a seal"},
    ],
)
def test_seals_keep_their_place_and_texts_of_thinking_are_never_used(block: Wire) -> None:
    said = items(user("Hi"), assistant("One", block, "Two", CALL), user(result()))
    assert said[1:4] == (AssistantText("One"), Reasoning("a seal"), AssistantText("Two"))


SERVER_RESULTS: list[tuple[str, Any, str]] = [
    (
        "web_search_tool_result",
        [{"type": "web_search_result", "title": "T", "url": "https://x", "encrypted_content": "abc"}],
        '{"title": "T", "url": "https://x"}',
    ),
    ("web_search_tool_result", {"type": "web_search_tool_result_error", "error_code": "e"}, '{"error_code": "e"}'),
    ("bash_code_execution_tool_result", {"stdout": "42", "return_code": 0}, '{"stdout": "42", "return_code": 0}'),
    ("mcp_tool_result", [{"type": "text", "text": "One"}, {"type": "text", "text": "Two"}], "One\n\nTwo"),
    ("mcp_tool_result", "plain", "plain"),
    ("mcp_tool_result", None, ""),
]


@pytest.mark.parametrize(("kind", "content", "told"), SERVER_RESULTS)
def test_what_another_servers_tools_did_is_told_as_calls_and_results(kind: str, content: Any, told: str) -> None:
    use = "mcp_tool_use" if kind.startswith("mcp") else "server_tool_use"
    call = {"type": use, "id": "srv_1", "name": "search", "input": {"query": "x"}}
    answered = {"type": kind, "tool_use_id": "srv_1", "content": content}
    assert items(user("Hi"), assistant("I look.", call, answered, "Found."), user("Well?")) == (
        UserText("Hi"),
        AssistantText("I look."),
        ToolCall("srv_1", "search", '{"query":"x"}'),
        ToolResult("srv_1", "search", told),
        AssistantText("Found."),
        UserText("Well?"),
    )


def test_a_failed_tool_of_another_server_says_so() -> None:
    call = {"type": "mcp_tool_use", "id": "srv_1", "name": "bad name<|call|>", "input": {}}
    answered = {"type": "mcp_tool_result", "tool_use_id": "srv_1", "is_error": True, "content": "gone"}
    assert items(user("Hi"), assistant(call, answered))[-1] == ToolResult("srv_1", "mcp_tool_use", "Error: gone")


def test_a_summary_stands_for_what_it_summarises() -> None:
    said = items(assistant({"type": "compaction", "content": "They greeted."}), user("Go on."))
    assert said == (Instructions(f"{SUMMARY}They greeted."), UserText("Go on."))


def test_nothing_before_a_summary_is_told_again() -> None:
    first = {"type": "compaction", "content": "They greeted."}
    messages = [user("Hi"), assistant("Hello!", first, "Yes?"), user("Read it."), assistant(CALL)]
    assert items(*messages, user(RESULT))[:3] == (
        Instructions(f"{SUMMARY}They greeted."), AssistantText("Yes?"), UserText("Read it."),
    )  # fmt: skip
    second = {"type": "compaction", "content": "They read a file."}
    assert items(*messages, user(RESULT), assistant(second, "Done."), user("Thanks!")) == (
        Instructions(f"{SUMMARY}They read a file."), AssistantText("Done."), UserText("Thanks!"),
    )  # fmt: skip
    assert items(*messages, user(RESULT), assistant(first), user({**RESULT, "content": "again"}))[-1] == ToolResult(
        "toolu_1", "Read", "again"
    )
    assert len(items(user("Hi"), assistant("Hello!", {"type": "compaction", "content": None}), user("Go on."))) == 3


def test_results_come_before_what_a_user_says_beside_them() -> None:
    second = {**CALL, "id": "toolu_2"}
    said = items(user("Hi"), assistant(CALL, second), user({**RESULT, "tool_use_id": "toolu_2"}, "Go on.", RESULT))
    assert [type(item) for item in said[-3:]] == [ToolResult, ToolResult, UserText]


def test_media_in_a_document_of_a_result_leave_its_text() -> None:
    source = {"type": "content", "content": [text("Read me."), {"type": "image", "source": {"type": "base64"}}]}
    result = {**RESULT, "content": [{"type": "document", "title": "A page", "source": source}]}
    said = items(user("Hi"), assistant(CALL), user(result))[-1]
    assert isinstance(said, ToolResult)
    assert "Read me." in said.text
    assert "[image left out: this model reads text only]" in said.text


def test_a_summary_is_not_made() -> None:
    with pytest.raises(BadRequest, match="summaries") as refused:
        generation(compaction={"type": "compaction"})
    assert refused.value.code == "compaction_unsupported_request"


@pytest.mark.parametrize(
    ("fields", "caches"),
    [
        ({}, False),
        ({"cache_control": {"type": "ephemeral"}}, True),
        ({"cache_control": None}, False),
        ({"system": [text("Be brief.")]}, True),
        ({"tools": [{**READ, "cache_control": {"type": "ephemeral"}}]}, True),
        ({"messages": [user("Hi")]}, True),
        ({"messages": [user(result([text("42")]))]}, True),
        ({"messages": [user(result())]}, False),
        ({"system": "cache_control", "tools": [READ]}, False),
        ({"caches": True}, False),
    ],
)
def test_any_breakpoint_asks_to_keep_the_prompt(fields: Wire, caches: bool) -> None:
    body = {"model": "m", "max_tokens": 64, "messages": [{"role": "user", "content": "Hi"}], **fields}
    assert validate(MessagesRequest, body).caches is caches


def test_no_tokens_read_the_prompt_alone() -> None:
    assert generation(max_tokens=0).max_tokens == 1


def test_a_user_has_no_reasoning() -> None:
    assert items(user("Hi", {"type": "redacted_thinking", "data": "a seal"})) == (UserText("Hi"),)


def test_a_thread_is_refused_so_that_its_client_sends_the_whole_history() -> None:
    with pytest.raises(BadRequest) as refused:
        generation(thread={"type": "create"})
    assert refused.value.code == "thread_unsupported_request"


@pytest.mark.parametrize(
    ("thinking", "blocks"),
    [
        (None, "none"),
        ({"type": "disabled"}, "none"),
        ({"type": "disabled", "display": "omitted"}, "none"),
        ({"type": "something new"}, "none"),
        ({"type": "enabled", "budget_tokens": 1024}, "redacted_thinking"),
        ({"type": "adaptive"}, "redacted_thinking"),
        ({"type": "between_tools"}, "redacted_thinking"),
        ({"type": "adaptive", "display": "summarized"}, "redacted_thinking"),
        ({"type": "adaptive", "display": "omitted"}, "thinking"),
        ({"type": "enabled", "budget_tokens": 1024, "display": "omitted"}, "thinking"),
    ],
)
def test_reasoning_is_returned_as_it_was_asked_for(thinking: Wire | None, blocks: str) -> None:
    body = {"model": "m", "max_tokens": 64, "messages": [user("Hi")], "thinking": thinking}
    assert reasoning_blocks(validate(MessagesRequest, body)) == blocks


def test_an_unknown_block_with_a_text_is_that_text() -> None:
    assert items(user({"type": "note", "text": "One"})) == (UserText("One"),)


def document(source: Wire, **fields: Any) -> Wire:
    return {"type": "document", "source": source, **fields}


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (
            document({"type": "text", "media_type": "text/plain", "data": "Body"}, title="T", context="C"),
            "<document>\nT\nC\nBody\n</document>",
        ),
        (document({"type": "content", "content": "Body"}), "<document>\nBody\n</document>"),
        (document({"type": "content", "content": [text("A"), text("B")]}), "<document>\nA\n\nB\n</document>"),
        (
            {"type": "search_result", "source": "https://x", "title": "T", "content": [text("A")]},
            "<search_result>\nT\nhttps://x\nA\n</search_result>",
        ),
    ],
)
def test_documents_and_search_results_are_read_as_text(block: Wire, expected: str) -> None:
    assert items(user(block)) == (UserText(expected),)


IMAGE: Wire = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}


@pytest.mark.parametrize(
    "block",
    [
        IMAGE,
        {"type": "container_upload", "file_id": "file_1"},
        document({"type": "base64", "media_type": "application/pdf", "data": "AAAA"}),
        document({"type": "url", "url": "http://127.0.0.1/"}),
        document({"type": "file", "file_id": "file_1"}),
        document({"type": "content", "content": [text("A"), IMAGE]}),
    ],
)
def test_what_is_no_text_is_refused_by_name(block: Wire) -> None:
    with pytest.raises(BadRequest, match=f"text model.*{block['type']}") as refused:
        generation(messages=[user("Hi", block)])
    assert refused.value.param == "messages[0].content[1]"


# How it is generated


def test_sampling_is_taken_over() -> None:
    request = generation(temperature=0.5, top_p=0.9, top_k=40, max_tokens=128_000, stop_sequences=["END", "\n\n"])
    assert request.sampling == Sampling(temperature=0.5, top_p=0.9, top_k=40)
    assert request.max_tokens == 128_000
    assert request.stop == ("END", "\n\n")


@pytest.mark.parametrize("fields", [{}, {"temperature": None, "top_p": None, "top_k": None, "stop_sequences": None}])
def test_absent_sampling_is_the_models_own(fields: Wire) -> None:
    assert generation(**fields).sampling == Sampling()
    assert generation(**fields).stop == ()


def test_top_k_of_minus_one_is_no_limit() -> None:
    assert generation(top_k=-1).sampling.top_k == 0


@pytest.mark.parametrize(
    ("fields", "effort"),
    [
        ({}, "medium"),
        ({"temperature": 0}, "low"),
        ({"temperature": 1.0}, "high"),
        ({"thinking": {"type": "disabled"}, "temperature": 1.0, "output_config": {"effort": "high"}}, "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 4096}, "temperature": 1.0}, "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 16384}, "temperature": 1.0}, "medium"),
        ({"thinking": {"type": "enabled", "budget_tokens": 31999}}, "high"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}, "output_config": {"effort": "max"}}, "high"),
        ({"thinking": {"type": "adaptive", "display": "omitted"}}, "medium"),
        ({"thinking": {"type": "adaptive"}, "temperature": 0.2}, "low"),
        ({"thinking": {"type": "between_tools"}}, "medium"),
        ({"thinking": {"type": "yet_unknown"}}, "medium"),
        ({"output_config": {"effort": "low"}, "temperature": 1.0}, "low"),
        ({"output_config": {"effort": "xhigh"}}, "high"),
        ({"output_config": {"effort": "yet_unknown", "format": {"type": "json_schema", "schema": {}}}}, "medium"),
    ],
)
def test_reasoning_effort(fields: Wire, effort: str) -> None:
    assert conversation(**fields).reasoning_effort == effort


def test_a_messages_own_effort_wins() -> None:
    turn = {"role": "system", "content": "Now.", "output_config": {"effort": "low"}}
    assert conversation(messages=[user("Hi"), turn], output_config={"effort": "high"}).reasoning_effort == "low"


@pytest.mark.parametrize(
    "fields",
    [
        {"model": ""},
        {"max_tokens": None},
        {"max_tokens": -1},
        {"max_tokens": "64"},
        {"max_tokens": True},
        {"max_tokens": 64.0},
        {"temperature": "0.5"},
        {"top_p": "1"},
        {"top_k": "5"},
        {"stream": "true"},
        {"stream": 1},
        {"thinking": {"type": "enabled", "budget_tokens": "1024"}},
        {"thinking": {"type": "enabled", "budget_tokens": -1}},
        {"temperature": -0.1},
        {"temperature": 2.1},
        {"top_p": 1.1},
        {"top_k": -2},
        {"stop_sequences": [""]},
        {"stop_sequences": ["a"] * 17},
        {"tool_choice": {"type": "maybe"}},
        {"messages": [{"role": "tool", "content": "Hi"}]},
        {"messages": [{"role": "user", "content": 5}]},
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        {"messages": [{"role": "user", "content": [{"text": "no type"}]}]},
    ],
)
def test_impossible_fields_are_refused(fields: Wire) -> None:
    with pytest.raises(BadRequest):
        generation(**fields)


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        (
            {"messages": [user("Hi"), {"role": "user", "content": [{**text("a"), "text": None}]}]},
            "messages[1].content[0].text",
            "string",
        ),
        ({"messages": [{"role": "user", "content": ["Hi"]}]}, "messages[0].content[0]", "Input should be an object"),
        ({"messages": [{"role": "user", "content": [None]}]}, "messages[0].content[0]", "Input should be an object"),
        ({"messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0].type", "Missing"),
        ({"stop_sequences": ["a"] * 17}, "stop_sequences", "List should have at most 16 items"),
        ({"messages": [user("Hi")] * (MAX_MESSAGES + 1)}, "messages", "List should have at most"),
        (
            {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}] * 17}},
            "context_management.edits",
            "List should have at most 16 items",
        ),
    ],
)
def test_a_fault_is_named_as_the_caller_knows_it(fields: Wire, param: str, said: str) -> None:
    with pytest.raises(BadRequest, match=said) as refused:
        generation(**fields)
    assert refused.value.param == param


def test_the_first_turn_of_a_coding_agent() -> None:
    """Every field that Claude Code sends, none of which may be an error."""
    request = generation(
        model="claude-opus-5-5",
        max_tokens=128_000,
        stream=True,
        system=[{"type": "text", "text": "x-anthropic-billing-header: abc"}, text("You are an agent."), text("Rules.")],
        messages=[
            user("<system-reminder>Today</system-reminder>", "Say hi"),
            {"role": "system", "content": [text("Mind this.")], "output_config": {"effort": "medium"}},
        ],
        tools=[READ, {"name": "DeferredToolPlaceholder", "description": "", "input_schema": {}, "defer_loading": True}],
        thinking={"type": "adaptive", "display": "omitted"},
        context_management={"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        output_config={"effort": "medium"},
        metadata={"user_id": "u"},
        service_tier="auto",
        betas=["context-management-2025-06-27"],
    )
    assert [tool.name for tool in request.conversation.tools] == ["Read"]
    assert request.conversation.reasoning_effort == "medium"
    assert [type(item) for item in request.conversation.items] == [Instructions] * 3 + [UserText, Instructions]
