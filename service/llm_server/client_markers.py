"""What clients write into a conversation anew on every turn and no model needs: taken out, so that the prompt stays.

Claude Code begins its system prompt with a billing line that has a new hash in every request, and tells the model over
and over how many of its provider's tokens are left. Either would make the server read the whole prompt again. Pure:
conversation in, conversation out. Knows no API and no token.

Source: the requests of Claude Code since 2.1.36; https://github.com/anthropics/claude-code/issues/24168,
https://github.com/jundot/omlx/issues/2881.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from llm_server.conversation import Conversation, Instructions, Item, ToolResult, UserText

_COUNTDOWN: Final = r"<total_tokens>\s*[\d,]+ tokens left\s*</total_tokens>"
_USAGE: Final = r"Token usage: [\d,]+/[\d,]+; [\d,]+ remaining"
_BUDGET: Final = r"USD budget: \$[\d.,]+/\$[\d.,]+; \$[\d.,]+ remaining"
_REMINDER: Final = rf"<system-reminder>\s*(?:{_COUNTDOWN}|{_USAGE}|{_BUDGET})\s*</system-reminder>"

_IN_INSTRUCTIONS: Final = re.compile(rf"\A\s*x-anthropic-billing-header:[^\n]*|{_COUNTDOWN}|{_REMINDER}")
_IN_USER_TEXT: Final = re.compile(_REMINDER)


def without_markers(conversation: Conversation) -> Conversation:
    """The conversation as if its client had not marked it. An item that was nothing but a marker is gone."""
    return replace(conversation, items=tuple(_unmarked(conversation.items)))


def _unmarked(items: tuple[Item, ...]) -> Iterator[Item]:
    for item in items:
        match item:
            case Instructions(text, tools):
                kept = _cut(_IN_INSTRUCTIONS, text)
                if kept or tools or not text:
                    yield replace(item, text=kept)
            case UserText(text):
                kept = _cut(_IN_USER_TEXT, text)
                if kept or not text:
                    yield replace(item, text=kept)
            case ToolResult(text=text):
                yield replace(item, text=_without_last(text))
            case _:
                yield item


def _cut(marker: re.Pattern[str], text: str) -> str:
    """The text without the markers and the space in front of them. Its time is linear in the text, whatever it is."""
    *before, last = marker.split(text)
    if not before:
        return text
    return "".join((*map(str.rstrip, before), last)).lstrip()


def _without_last(text: str) -> str:
    """The text without the reminders that stand behind it: what a tool returns may be about such markers."""
    kept = text
    while (end := kept.rstrip()).endswith("</system-reminder>"):
        start = end.rfind("<system-reminder>")
        if start < 0 or not _IN_USER_TEXT.fullmatch(end, start):
            break
        kept = end[:start].rstrip()
    return kept
