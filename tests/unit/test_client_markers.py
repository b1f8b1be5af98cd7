"""What clients mark conversations with goes, and nothing else does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_server.client_markers import without_markers
from llm_server.conversation import (
    AssistantText,
    Conversation,
    Instructions,
    Item,
    Tool,
    ToolCall,
    ToolResult,
    UserText,
)

BILLING = "x-anthropic-billing-header: cc_version=2.1.330.e19; cc_entrypoint=sdk-cli; cch=36ee5;"
COUNTDOWN = "<total_tokens>14999436 tokens left</total_tokens>"
USAGE = "<system-reminder>\nToken usage: 35000/131072; 96072 remaining\n</system-reminder>"
BUDGET = "<system-reminder>\nUSD budget: $0.25/$1.00; $0.75 remaining\n</system-reminder>"


def unmarked(*items: Item) -> tuple[Item, ...]:
    return without_markers(Conversation(items)).items


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"{BILLING}\nYou are an agent.\n\nBe brief.", "You are an agent.\n\nBe brief."),
        (f"{BILLING}\n\nYou are an agent.", "You are an agent."),
        (f"You are an agent.\n\n{COUNTDOWN}", "You are an agent."),
        (f"You are an agent.\n{COUNTDOWN}\n{COUNTDOWN}\n\n# Environment", "You are an agent.\n\n# Environment"),
        (f"Be brief.\n{USAGE}\n{BUDGET}", "Be brief."),
        ("<total_tokens>15,000,000 tokens left</total_tokens>\n\nBe brief.", "Be brief."),
    ],
)
def test_instructions_without_their_markers(text: str, kept: str) -> None:
    assert unmarked(Instructions(text)) == (Instructions(kept),)


@pytest.mark.parametrize("text", [BILLING, COUNTDOWN, USAGE, f"{BILLING}\n{COUNTDOWN}\n"])
def test_instructions_that_were_markers_alone_are_gone(text: str) -> None:
    assert unmarked(Instructions(text), UserText("Hello")) == (UserText("Hello"),)


def test_a_user_is_not_reminded() -> None:
    items = unmarked(
        UserText(f"Hello\n\n{USAGE}"),
        AssistantText("Hi"),
        UserText(f"<system-reminder>\n{COUNTDOWN}\n</system-reminder>"),
    )
    assert items == (UserText("Hello"), AssistantText("Hi"))


def test_what_was_put_behind_a_result_is_cut_off() -> None:
    result = ToolResult("c1", "read", f"{USAGE}\nis what I read.\n\n{USAGE}\n{BUDGET}")
    assert unmarked(result) == (ToolResult("c1", "read", f"{USAGE}\nis what I read."),)


@pytest.mark.parametrize(
    "item",
    [
        Instructions("The header x-anthropic-billing-header: a is what this is about."),
        Instructions("<usage><total_tokens>1200</total_tokens></usage>"),
        Instructions("<system-reminder>\nThe task list is empty.\n</system-reminder>"),
        Instructions("  indented\n"),
        Instructions("", ("WebFetch",)),
        UserText(f"Why does it send {BILLING}"),
        UserText(f"What does {COUNTDOWN} mean?"),
        UserText(""),
        ToolResult("c1", "read", COUNTDOWN),
        ToolCall("c1", "read", COUNTDOWN),
        AssistantText(USAGE),
    ],
)
def test_everything_else_stays_as_it_is(item: Item) -> None:
    assert unmarked(item) == (item,)


@pytest.mark.parametrize("text", [" " * 200_000, "<total_tokens>" * 20_000, "<total_tokens>" + " " * 200_000])
def test_no_text_takes_long(text: str) -> None:
    items = (Instructions(f"{text}."), UserText(f"{text}."), ToolResult("c1", "read", f"{text}."))
    assert unmarked(*items) == items


def test_tools_that_are_offered_beside_a_marker_are_kept() -> None:
    assert unmarked(Instructions(COUNTDOWN, ("WebFetch",))) == (Instructions("", ("WebFetch",)),)


def test_all_but_the_items_is_kept() -> None:
    marked = Conversation((Instructions(BILLING), UserText("Hello")), (Tool("clock"),), "high")
    assert without_markers(marked) == Conversation((UserText("Hello"),), (Tool("clock"),), "high")


@given(st.text("abc <>\n:_-", max_size=40), st.integers(0, 10**9), st.integers(0, 16**5 - 1))
def test_two_turns_that_differ_in_markers_alone_are_one(text: str, left: int, digest: int) -> None:
    def turn(left: int, digest: int) -> tuple[Item, ...]:
        countdown = f"<total_tokens>{left} tokens left</total_tokens>"
        billing = f"x-anthropic-billing-header: cc_version=2.1.330.{digest % 4096:03x}; cch={digest:05x};"
        return unmarked(Instructions(billing), Instructions(f"{text}\n{countdown}"), UserText(text))

    assert turn(left, digest) == turn(15_000_000, 0)
