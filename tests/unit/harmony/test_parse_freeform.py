"""Calls of tools that take plain text: every character is passed on, and nothing is added."""

from __future__ import annotations

import pytest

from fakes import message, next_message, text_tokens
from llm_server.events import Completion, Finish, fold
from llm_server.harmony.encoding import CALL, CHANNEL, END, MESSAGE
from llm_server.harmony.parse import HarmonyParser

INPUTS = [
    "*** Begin Patch\n+ x = {1}\n*** End Patch\n",
    '  {"a": 1} and more  ',
    "",
    "json: {}",
    '{"name": "apply_patch", "arguments": {"a": 1}}',
    "\n\n",
    "x",
    '{"open',
]


def freeform_call(text: str, end: int | None = CALL, channel: str = "commentary") -> list[int]:
    header = [CHANNEL, *text_tokens(f"{channel} to=functions.apply_patch")]
    return [*header, MESSAGE, *text_tokens(text), *([] if end is None else [end])]


def read(tokens: list[int], *, truncated: bool = False) -> tuple[HarmonyParser, Completion]:
    parser = HarmonyParser(["apply_patch", "read"], new_call_id=lambda: "call_1", freeform=["apply_patch"])
    events = [event for token in tokens for event in parser.feed(token)]
    events += parser.finish(truncated=truncated)
    return parser, fold([*events, Finish(parser.finish_reason)])


@pytest.mark.parametrize("text", INPUTS)
def test_the_input_is_passed_on_to_the_character(text: str) -> None:
    parser, whole = read([*message("analysis", "Hm.", END), *next_message(), *freeform_call(text)])
    assert [(call.tool_name, call.text) for call in whole.tool_calls] == [("apply_patch", text)]
    assert parser.finish_reason == "tool_calls"
    assert not parser.repairs


@pytest.mark.parametrize("text", INPUTS)
def test_an_input_that_was_cut_off_is_no_call(text: str) -> None:
    parser, whole = read(freeform_call(text, end=None), truncated=True)
    assert not whole.tool_calls
    assert parser.finish_reason == "length"


def test_other_tools_still_take_json() -> None:
    _, whole = read(message("commentary", "json: {} ", CALL, "functions.read"))
    assert [call.text for call in whole.tool_calls] == ["{}"]
