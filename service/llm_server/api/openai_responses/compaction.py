"""`POST /v1/responses/compact`: a conversation becomes a summary, which the model itself writes.

The summary is sealed into an item that a later request may begin with; it stands for all that was said before it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from llm_server.api.http import JSON
from llm_server.api.openai_responses.output import new_id
from llm_server.api.openai_responses.reader import History, Reader
from llm_server.api.openai_responses.response import usage
from llm_server.api.openai_responses.schema import CompactRequest
from llm_server.api.openai_responses.tools import Toolbox
from llm_server.conversation import Conversation, GenerationRequest, Instructions, Item, ToolChoice, UserText
from llm_server.errors import BadRequest, GenerationFailed
from llm_server.events import Completion
from llm_server.sealed_text import TextSealer

TASK: Final = (
    "Sum up this conversation, so that it can go on from your summary alone: what the user wants and has decided, what"
    " was done and found out, with names, numbers and paths as they are, and what is still open. Write the summary and"
    " nothing else."
)


KEPT: Final = 2
"""Of a conversation that is too long, so many last items are summed up in any case: the task, and what it is about."""

LONGEST_SUMMARY: Final = 4096
"""Tokens, analysis included. A model that repeats itself would write on until the context is full again."""


def to_generation(body: CompactRequest, history: History) -> GenerationRequest:
    """
    Raises:
        BadRequest: there is nothing to sum up, or something that a text model can not take.
    """
    items: list[Item] = list(Reader(Toolbox(), history.open_text).read(history))
    if not items:
        raise BadRequest("'input': there is nothing to compact.", param="input")
    instructions: Sequence[Item] = [Instructions(body.instructions)] if body.instructions else []
    conversation = Conversation((*instructions, *items, UserText(TASK)), reasoning_effort="low")
    return GenerationRequest(conversation, max_tokens=LONGEST_SUMMARY, tool_choice=ToolChoice("none"))


def compacted(answer: Completion, sealer: TextSealer) -> JSON:
    """
    Raises:
        GenerationFailed: the model has written no summary.
    """
    if not answer.text.strip():
        raise GenerationFailed("The model wrote no summary.")
    return {
        "id": new_id("resp"),
        "object": "response.compaction",
        "created_at": int(time.time()),
        "output": [{"id": new_id("cmp"), "type": "compaction", "encrypted_content": sealer.seal(answer.text)}],
        "usage": usage(answer.finish.usage),
    }
