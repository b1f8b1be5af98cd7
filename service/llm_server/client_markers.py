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

_IN_INSTRUCTIONS: Final = re.compile(rf"\A\s*x-anthropic-billing-header:[^\n]*|\s*(?:{_COUNTDOWN}|{_REMINDER})")
_IN_USER_TEXT: Final = re.compile(rf"\s*{_REMINDER}")
_BEHIND_A_RESULT: Final = re.compile(rf"(?:\s*{_REMINDER})+\s*\Z")
"""What a tool returns may be about such markers, so only what was put behind it is one."""


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
                yield replace(item, text=_BEHIND_A_RESULT.sub("", text))
            case _:
                yield item


def _cut(marker: re.Pattern[str], text: str) -> str:
    kept = marker.sub("", text)
    return text if kept == text else kept.lstrip()
