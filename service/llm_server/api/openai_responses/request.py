"""A Responses request as the canonical one. Pure; knows the wire types and the canonical ones, and no token.

Who calls has already put the items together: those that are kept from earlier responses, then the request's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from llm_server.api.openai_responses.items import ToolsItem
from llm_server.api.openai_responses.reader import History, Reader
from llm_server.api.openai_responses.schema import PromptRequest, ResponseRequest, TextConfig
from llm_server.api.openai_responses.tools import Toolbox
from llm_server.api.reasoning import reasoning_effort
from llm_server.api.sampling import sampling
from llm_server.api.structured import response_format
from llm_server.api.verbosity import VERBOSITY
from llm_server.conversation import (
    Conversation,
    GenerationRequest,
    Instructions,
    Item,
    ReasoningEffort,
)
from llm_server.errors import BadRequest

LOGPROBS: Final = "message.output_text.logprobs"
ENCRYPTED: Final = "reasoning.encrypted_content"


def check_supported(body: PromptRequest) -> None:
    """
    Raises:
        BadRequest: it asks for what this server can not do, and would not notice.
    """
    if isinstance(body, ResponseRequest) and body.background:
        raise BadRequest("'background': this server answers at once; send 'background: false'.", param="background")
    if isinstance(body, ResponseRequest) and body.moderation is not None:
        raise BadRequest("'moderation': this server has no moderation model.", param="moderation")
    if body.conversation is not None:
        message = "'conversation': this server keeps no conversations; use 'previous_response_id'."
        raise BadRequest(message, param="conversation")
    if body.prompt is not None:
        raise BadRequest("'prompt': this server keeps no prompt templates; send 'instructions'.", param="prompt")


def toolbox(body: PromptRequest, history: History) -> Toolbox:
    """The tools of the request, and those that its conversation has brought in."""
    found = [tool for item in history.items if isinstance(item, ToolsItem) for tool in item.tools]
    return Toolbox.of(body.tools or (), found)


def to_generation(body: ResponseRequest, history: History, tools: Toolbox) -> GenerationRequest:
    """
    Raises:
        BadRequest: what the schema can not see, such as an image, or an output that answers no call.
    """
    conversation = to_conversation(body, history, tools)
    return GenerationRequest(
        conversation,
        sampling(body, _logprobs(body)),
        body.max_output_tokens,
        tuple(body.stop or ()),
        tool_choice=tools.choice(body.tool_choice, _most_calls(body)),
        answer_schema=_answer_schema(body.text),
        strict_answer=is_strict(body.text),
    )


def to_conversation(body: PromptRequest, history: History, tools: Toolbox) -> Conversation:
    """All that decides the prompt, for generating as for counting.

    Raises:
        BadRequest: as `to_generation`.
    """
    items: list[Item] = [Instructions(body.instructions)] if body.instructions else []
    items += Reader(tools, history.open_text).read(history)
    leading = next((at for at, item in enumerate(items) if not _is_plain_instructions(item)), len(items))
    items[leading:leading] = _formats(body.text)
    return Conversation(tuple(items), tools.tools, effort(body))


def effort(body: PromptRequest) -> ReasoningEffort:
    return reasoning_effort(body.reasoning.effort if body.reasoning else None, body.temperature)


def _most_calls(body: ResponseRequest) -> int | None:
    return 1 if body.parallel_tool_calls is False else body.max_tool_calls


def _is_plain_instructions(item: Item) -> bool:
    return isinstance(item, Instructions) and not item.tools


def _logprobs(body: ResponseRequest) -> int | None:
    """How many alternatives are wanted; None if no probabilities are."""
    is_wanted = bool(body.top_logprobs) or LOGPROBS in (body.include or ())
    return (body.top_logprobs or 0) if is_wanted else None


def _answer_schema(text: TextConfig | None) -> Mapping[str, Any] | None:
    match text.format.type if text and text.format else "text":
        case "json_schema":
            return text.format.schema_ if text and text.format else None
        case "json_object":
            return {"type": "object"}
    return None


def is_strict(text: TextConfig | None) -> bool:
    """Unless it says otherwise. The response tells."""
    return text is None or text.format is None or text.format.strict is not False


def _formats(text: TextConfig | None) -> Iterator[Item]:
    """What the model is told of the form of its answer. It follows the caller's own instructions."""
    if text is None:
        return
    if text.verbosity and (wish := VERBOSITY[text.verbosity]):
        yield Instructions(wish)
    match text.format:
        case format_ if format_ and format_.type == "json_schema":
            yield Instructions(response_format(format_.name, format_.schema_ or {}, format_.description or ""))
        case format_ if format_ and format_.type == "json_object":
            whole = "One JSON object, and no other text."
            yield Instructions(response_format("json_object", {"type": "object"}, whole))
