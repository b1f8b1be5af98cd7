"""`context_management`: the results of old tool calls are left out of a conversation that has grown long.

Knows conversations and a way to count their tokens; knows no HTTP. Other edits have no effect here, and so are not
reported as applied: thoughts of past turns are in no prompt anyhow, and summaries are not made.

Source: https://platform.claude.com/docs/en/build-with-claude/context-editing
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from llm_server.api.anthropic.schema import Amount, Edit
from llm_server.conversation import Conversation, Item, ToolCall, ToolResult

CLEAR_TOOL_USES: Final = "clear_tool_uses_20250919"

CLEARED: Final = "[This tool's result was cleared to save space.]"

KEPT_USES: Final = 3
"""Tool uses that stay unless the edit says how many."""

TRIGGER: Final = Amount(type="input_tokens", value=100_000)
"""When results are cleared unless the edit says when."""

Count: TypeAlias = Callable[[Conversation], Awaitable[int]]
"""The tokens of the prompt that a conversation would be run with."""


@dataclass(frozen=True, slots=True)
class Edited:
    """The conversation to run, and what was done to it, as the API reports it."""

    conversation: Conversation
    applied: tuple[dict[str, Any], ...] = ()


async def edited(conversation: Conversation, edits: Sequence[Edit], count: Count) -> Edited:
    """The conversation after those of the edits whose time has come."""
    applied: list[dict[str, Any]] = []
    for edit in edits:
        if edit.type != CLEAR_TOOL_USES or not await _is_due(conversation, edit, count):
            continue
        cleared, uses = without_old_results(conversation, edit)
        tokens = await count(conversation) - await count(cleared) if uses else 0
        if uses and tokens >= (edit.clear_at_least.value if edit.clear_at_least else 0):
            conversation = cleared
            applied.append({"type": edit.type, "cleared_tool_uses": uses, "cleared_input_tokens": tokens})
    return Edited(conversation, tuple(applied))


def without_old_results(conversation: Conversation, edit: Edit) -> tuple[Conversation, int]:
    """The conversation without the results of its first tool uses, and of how many."""
    uses = [item.call_id for item in conversation.items if isinstance(item, ToolResult) and _may_go(item, edit)]
    kept = edit.keep.get("value", KEPT_USES) if isinstance(edit.keep, dict) else KEPT_USES
    gone = frozenset(uses[: max(0, len(uses) - kept)] if isinstance(kept, int) else ())
    return replace(conversation, items=tuple(_cleared(item, gone, edit) for item in conversation.items)), len(gone)


async def _is_due(conversation: Conversation, edit: Edit, count: Count) -> bool:
    trigger = edit.trigger or TRIGGER
    if trigger.type == "tool_uses":
        return sum(isinstance(item, ToolResult) for item in conversation.items) > trigger.value
    return await count(conversation) > trigger.value


def _may_go(result: ToolResult, edit: Edit) -> bool:
    return result.name not in (edit.exclude_tools or ()) and result.text != CLEARED


def _cleared(item: Item, gone: Set[str], edit: Edit) -> Item:
    match item:
        case ToolResult(call_id=call_id) if call_id in gone:
            return replace(item, text=CLEARED)
        case ToolCall(call_id=call_id, name=name) if call_id in gone and _clears_input(name, edit):
            return replace(item, arguments="{}")
    return item


def _clears_input(name: str, edit: Edit) -> bool:
    match edit.clear_tool_inputs:
        case bool() | None as all_of_them:
            return bool(all_of_them)
        case names:
            return name in names
