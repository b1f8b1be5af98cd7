"""A Messages request as the canonical one. Pure; knows no token and no HTTP.

`content.py` reads what was said, and `tools.py` what may be called.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from llm_server.api.anthropic.content import message_items, system_items
from llm_server.api.anthropic.errors import CompactionUnsupported, ThreadsUnsupported
from llm_server.api.anthropic.response import ReasoningBlocks
from llm_server.api.anthropic.schema import CountTokensRequest, MessagesRequest
from llm_server.api.anthropic.tools import offer, tool_choice
from llm_server.api.reasoning import EFFORTS, reasoning_effort
from llm_server.api.sampling import canonical_top_k
from llm_server.api.structured import response_format
from llm_server.conversation import (
    AssistantText,
    Conversation,
    GenerationRequest,
    Instructions,
    Item,
    Reasoning,
    ReasoningEffort,
    Sampling,
    ToolCall,
)
from llm_server.errors import BadRequest

CALL_PREFIX: Final = "toolu_"
"""How the ids of this API's calls begin."""

LOW_BUDGET: Final = 4096
MEDIUM_BUDGET: Final = 16384
"""Thinking budgets, in tokens, up to which low and medium effort stand for them."""


def to_generation(body: MessagesRequest) -> GenerationRequest:
    """The whole request in canonical form.

    Raises:
        BadRequest: it is no text, ends with the assistant's words, names a tool or a call that does not exist, goes on
            from a history that is not in it, or asks for a summary in place of an answer.
    """
    if body.thread:
        raise ThreadsUnsupported()
    if body.compaction is not None:
        raise CompactionUnsupported()
    conversation = to_conversation(body)
    if isinstance(conversation.items[-1], AssistantText | Reasoning | ToolCall):
        raise BadRequest(
            "This model does not support assistant message prefill. The conversation must end with a user message.",
            param="messages",
        )
    return GenerationRequest(
        conversation=conversation,
        sampling=_sampling(body),
        max_tokens=max(1, body.max_tokens),
        stop=body.stop_sequences or (),
        tool_choice=tool_choice(body.tool_choice, offer(body)),
        answer_schema=_answer_schema(body),
        reasoning_budget=body.thinking.budget_tokens if body.thinking else None,
        call_prefix=CALL_PREFIX,
    )


def reasoning_blocks(body: MessagesRequest) -> ReasoningBlocks:
    """How the caller is given reasoning: not at all, unless it asked the model to think."""
    thinking = body.thinking
    if thinking is None or thinking.type not in ("enabled", "adaptive", "between_tools"):
        return "none"
    return "thinking" if thinking.display == "omitted" else "redacted_thinking"


def to_conversation(body: CountTokensRequest) -> Conversation:
    """All that decides the prompt, for generating as for counting.

    Raises:
        BadRequest: as `to_generation`, but the conversation may end with anything.
    """
    offered = offer(body)
    messages = tuple(message_items(body.messages, offered.deferred))
    if not messages:
        reason = "they hold no text to answer" if body.messages else "at least one message is required"
        raise BadRequest(f"messages: {reason}", param="messages")
    return Conversation(
        items=(*system_items(body.system), *_format(body), *messages),
        tools=offered.tools,
        reasoning_effort=_effort(body),
    )


def _answer_schema(body: CountTokensRequest) -> dict[str, Any] | None:
    asked = (body.output_config.format if body.output_config else None) or body.output_format
    return asked.schema_ if asked and asked.type == "json_schema" else None


def _format(body: CountTokensRequest) -> Iterator[Item]:
    if (schema := _answer_schema(body)) is not None:
        yield Instructions(response_format("answer", schema))


def _effort(body: CountTokensRequest) -> ReasoningEffort:
    return reasoning_effort(_explicit_effort(body), body.temperature)


def _explicit_effort(body: CountTokensRequest) -> str | None:
    """Thinking switched off is the plainest choice, then the effort of the latest message that has one."""
    thinking = body.thinking
    if thinking is not None and thinking.type == "disabled":
        return "low"
    configs = (body.output_config, *(message.output_config for message in body.messages))
    named = [config.effort for config in configs if config is not None and config.effort in EFFORTS]
    if named:
        return named[-1]
    if thinking is None or thinking.type != "enabled" or thinking.budget_tokens is None:
        return None
    if thinking.budget_tokens <= LOW_BUDGET:
        return "low"
    return "medium" if thinking.budget_tokens <= MEDIUM_BUDGET else "high"


def _sampling(body: MessagesRequest) -> Sampling:
    return Sampling(temperature=body.temperature, top_p=body.top_p, top_k=canonical_top_k(body.top_k))
