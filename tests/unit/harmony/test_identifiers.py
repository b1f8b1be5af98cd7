"""Tool names go to the model as identifiers and come back as they were."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import ScriptedEngine, tool_call
from llm_server.conversation import (
    Conversation,
    GenerationRequest,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    UserText,
)
from llm_server.events import collect
from llm_server.generation import Generator
from llm_server.harmony.encoding import harmony_encoding
from llm_server.harmony.identifiers import Identifiers, identified


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("get_weather", "get_weather"),
        ("mcp__fs__read-text.file", "mcp__fs__read_text_file"),
        ("3d_view", "_3d_view"),
        ("größe", "gr__e"),
        ("a/b:c", "a_b_c"),
    ],
)
def test_a_name_becomes_the_obvious_identifier(name: str, identifier: str) -> None:
    identifiers = Identifiers([name])
    assert identifiers.identifier(name) == identifier
    assert identifiers.name(identifier) == name


@given(st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=12))
def test_names_are_mapped_one_to_one_and_identifiers_stay(names: list[str]) -> None:
    identifiers = Identifiers(names)
    mapped = [identifiers.identifier(name) for name in names]
    assert len(set(mapped)) == len(names)
    assert [identifiers.name(identifier) for identifier in mapped] == names
    for name, identifier in zip(names, mapped, strict=True):
        assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", identifier)
        assert identifier == name or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)


def test_a_choice_and_a_history_are_mapped_too() -> None:
    items = (UserText("Read"), ToolCall("1", "read-file", "{}"), ToolResult("1", "old-tool", "text"))
    conversation = Conversation(items, (Tool("read_file"), Tool("read-file")))
    request, _ = identified(
        GenerationRequest(conversation, tool_choice=ToolChoice("required", frozenset({"read-file"})))
    )
    assert [tool.name for tool in request.conversation.tools] == ["read_file", "read_file_2"]
    assert request.tool_choice == ToolChoice("required", frozenset({"read_file_2"}))
    assert request.conversation.items[1:] == (
        ToolCall("1", "read_file_2", "{}"),
        ToolResult("1", "old_tool", "text"),
    )


async def test_the_model_reads_identifiers_and_the_caller_its_own_names() -> None:
    engine = ScriptedEngine(tool_call("read_text_file", "{}"))
    asked = GenerationRequest(Conversation((UserText("Read"),), (Tool("read-text.file"),)))
    generator = Generator(engine, request_timeout=60)
    [call] = (await collect(await generator.start(asked))).tool_calls
    assert call.tool_name == "read-text.file"
    prompt = harmony_encoding().decode(engine.submissions[0].prompt)
    assert "type read_text_file = () => any;" in prompt
    assert "read-text.file" not in prompt
    result = ToolResult(call.call_id, "read-text.file", "text")
    items = (*asked.conversation.items, ToolCall(call.call_id, "read-text.file", "{}"), result)
    await collect(await generator.start(replace(asked, conversation=replace(asked.conversation, items=items))))
    goes_on = harmony_encoding().decode(engine.submissions[1].prompt)
    assert "A tool is needed." in goes_on, "its own turn is given back to the model"
    assert "functions.read_text_file to=assistant" in goes_on
