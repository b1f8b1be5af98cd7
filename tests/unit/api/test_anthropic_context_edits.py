"""Old results leave a conversation that has grown long, when and as the caller has said."""

from __future__ import annotations

from typing import Any

import pytest

from llm_server.api.anthropic.context_edits import CLEARED, edited
from llm_server.api.anthropic.schema import Edit
from llm_server.conversation import Conversation, Item, ToolCall, ToolResult, UserText


def result(number: int) -> str:
    return f"result {number} ".ljust(90, "x")


def uses(count: int, tool: str = "read") -> tuple[Item, ...]:
    calls = [(ToolCall(f"c{n}", tool, f'{{"n":{n}}}'), ToolResult(f"c{n}", tool, result(n))) for n in range(count)]
    return (UserText("Read them."), *(item for pair in calls for item in pair))


def edit(**fields: Any) -> Edit:
    return Edit.model_validate({"type": "clear_tool_uses_20250919", **fields})


async def characters(conversation: Conversation) -> int:
    """Stands for the count of tokens."""
    return sum(len(getattr(item, "text", "")) for item in conversation.items)


async def texts(items: tuple[Item, ...], *edits: Edit) -> list[str]:
    changed = (await edited(Conversation(items), edits, characters)).conversation
    return [item.text for item in changed.items if isinstance(item, ToolResult)]


EXCEEDED = {"type": "tool_uses", "value": 4}


async def test_the_first_results_go_and_the_last_three_stay() -> None:
    assert await texts(uses(5), edit(trigger=EXCEEDED)) == [CLEARED, CLEARED, result(2), result(3), result(4)]


async def test_nothing_goes_before_its_time() -> None:
    assert CLEARED not in await texts(uses(4), edit(trigger=EXCEEDED))
    assert CLEARED not in await texts(uses(100), edit())


@pytest.mark.parametrize(("limit", "gone"), [(459, True), (460, False)])
async def test_input_tokens_are_counted(limit: int, gone: bool) -> None:
    items = uses(5)
    assert await characters(Conversation(items)) == 460
    assert (CLEARED in await texts(items, edit(trigger={"type": "input_tokens", "value": limit}))) == gone


async def test_the_caller_says_how_many_stay() -> None:
    kept = edit(trigger=EXCEEDED, keep={"type": "tool_uses", "value": 1})
    assert await texts(uses(5), kept) == [CLEARED] * 4 + [result(4)]


async def test_results_of_excluded_tools_stay() -> None:
    assert CLEARED not in await texts(uses(9), edit(trigger=EXCEEDED, exclude_tools=["read"]))


async def test_too_little_is_not_worth_it() -> None:
    long = tuple(ToolResult(f"c{n}", "read", "x" * 100) for n in range(5))
    worth = 2 * (100 - len(CLEARED))
    assert CLEARED in await texts(long, edit(trigger=EXCEEDED, clear_at_least={"type": "input_tokens", "value": worth}))
    dear = edit(trigger=EXCEEDED, clear_at_least={"type": "input_tokens", "value": worth + 1})
    assert CLEARED not in await texts(long, dear)


@pytest.mark.parametrize(("inputs", "first"), [(None, '{"n":0}'), (True, "{}"), (["read"], "{}"), (["x"], '{"n":0}')])
async def test_inputs_go_if_they_are_to(inputs: Any, first: str) -> None:
    asked = edit(trigger=EXCEEDED, clear_tool_inputs=inputs)
    changed = (await edited(Conversation(uses(5)), [asked], characters)).conversation
    calls = [item.arguments for item in changed.items if isinstance(item, ToolCall)]
    assert calls == [first, first.replace("0", "1"), *(f'{{"n":{n}}}' for n in (2, 3, 4))]


async def test_what_was_done_is_reported() -> None:
    long = tuple(ToolResult(f"c{n}", "read", "x" * 100) for n in range(5))
    changed = await edited(Conversation(long), [edit(trigger=EXCEEDED)], characters)
    tokens = 2 * (100 - len(CLEARED))
    kind = "clear_tool_uses_20250919"
    assert changed.applied == ({"type": kind, "cleared_tool_uses": 2, "cleared_input_tokens": tokens},)


@pytest.mark.parametrize("kind", ["clear_thinking_20251015", "compact_20260112", "not_yet_invented"])
async def test_other_edits_do_nothing_and_are_not_reported(kind: str) -> None:
    conversation = Conversation(uses(9))
    changed = await edited(conversation, [Edit(type=kind, keep="all")], characters)
    assert (changed.conversation, changed.applied) == (conversation, ())
