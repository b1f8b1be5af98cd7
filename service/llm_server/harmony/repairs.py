"""What was wrong with a stream and put right, as a kind and a position. Never what it said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

RepairKind: TypeAlias = Literal[
    "missing_start",
    "missing_channel",
    "missing_message",
    "unknown_channel",
    "abandoned_header",
    "foreign_role",
    "unclosed_message",
    "stray_token",
    "spelled_marker",
    "stripped_markers",
    "unlabelled_text",
    "after_turn",
    "call_channel",
    "tool_name",
    "wrapped_call",
    "undeclared_tool",
    "missing_recipient",
    "empty_arguments",
    "text_around_arguments",
    "arguments_not_json",
    "closed_json",
    "incomplete_arguments",
]


@dataclass(frozen=True, slots=True)
class Repair:
    """`position` is the index, in the generated tokens, of the token at which it was noticed.

    missing_start: a message without `<|start|>`. missing_channel, unknown_channel: a header without a channel, or with
    one that does not exist. missing_message: a body without `<|message|>`. abandoned_header: a header that was begun
    again. foreign_role: the model spoke as somebody else; not shown. unclosed_message: a message that another one
    interrupted. stray_token: a token that means nothing where it stands. spelled_marker, stripped_markers: markers
    written as text, or lost from it. unlabelled_text: text that belongs to no channel. after_turn: not shown, since the
    turn was over. call_channel: a call outside commentary. tool_name: a name that was not written as declared.
    wrapped_call: a call that named its tool in the arguments. undeclared_tool, missing_recipient: a call that is not
    run. empty_arguments: became `{}`. text_around_arguments: dropped. arguments_not_json: passed on as they are.
    closed_json: brackets added at the end. incomplete_arguments: not a call.
    """

    kind: RepairKind
    position: int
