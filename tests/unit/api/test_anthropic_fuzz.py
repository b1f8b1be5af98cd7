"""Whatever JSON a client sends: it is either understood, down to the tokens of its prompt, or refused with a reason."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from arbitrary_json import values
from llm_server.api.anthropic.context_edits import edited
from llm_server.api.anthropic.request import to_conversation, to_generation
from llm_server.api.anthropic.schema import MessagesRequest
from llm_server.api.body import validate
from llm_server.conversation import Conversation
from llm_server.errors import BadRequest
from llm_server.harmony.render import render

KINDS = ["text", "tool_use", "tool_result", "tool_reference", "tool_addition", "tool_removal", "document", "new"]
KINDS += ["search_result", "thinking", "redacted_thinking", "server_tool_use", "bash_tool_result", "compaction"]
WORDS = st.sampled_from(["user", "auto", "any", "none", "tool", "a", "<|end|>", "", "enabled", "adaptive", *KINDS])
KEYS = st.sampled_from(
    [
        *("role", "content", "type", "text", "name", "id", "tool_use_id", "input", "source", "data", "title"),
        *("tool_name", "tool", "definition", "input_schema", "properties", "signature", "is_error", "context"),
        *("effort", "format", "schema", "edits", "keep", "trigger", "value", "budget_tokens", "display", "clear_at"),
    ]
)
VALUES = values(WORDS, KEYS)
IDS = st.sampled_from(["1", "2"])
NAMES = st.sampled_from(["a", "b"])
SAID = {"type": "text", "text": "Hi"}
TOOL = st.fixed_dictionaries(
    {"name": NAMES}, optional={"input_schema": st.just({"type": "object"}), "defer_loading": st.booleans()}
)
BLOCK = st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS), "text": WORDS, "id": IDS, "tool_use_id": IDS, "name": NAMES, "tool_name": NAMES},
    optional={
        "input": st.just({"a": [1]}) | VALUES,
        "content": st.just([SAID, {"type": "tool_reference", "tool_name": "a"}]) | WORDS,
        "source": st.just({"type": "text", "data": "Hi"}),
        "tool": st.fixed_dictionaries({"name": NAMES}, optional={"definition": TOOL}),
        **{name: WORDS for name in ("data", "signature", "title")},
    },
)
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system"]), "content": WORDS | st.lists(BLOCK, max_size=4)},
    optional={"clear_at": st.just("next_user_message")},
)
EDIT = st.fixed_dictionaries(
    {"type": st.just("clear_tool_uses_20250919"), "trigger": st.just({"type": "tool_uses", "value": 0})},
    optional={"keep": VALUES, "clear_tool_inputs": st.booleans()},
)
FIELDS = {name: VALUES for name in MessagesRequest.model_fields if name not in ("model", "messages", "max_tokens")}
BASE = {"model": st.just("m"), "max_tokens": st.just(1)}
WILD = st.fixed_dictionaries(BASE | {"messages": st.lists(MESSAGES, max_size=4) | VALUES}, optional=FIELDS)
NEARLY_RIGHT = st.fixed_dictionaries(
    BASE
    | {"messages": st.lists(MESSAGES, max_size=5).map(lambda messages: [*messages, {"role": "user", "content": "?"}])},
    optional={
        "tools": st.lists(TOOL, max_size=3),
        "system": WORDS | st.lists(BLOCK, max_size=2),
        "context_management": st.fixed_dictionaries({"edits": st.lists(EDIT, max_size=2)}),
    },
)


@given(WILD | NEARLY_RIGHT)
async def test_every_request_is_understood_or_refused(request: dict[str, Any]) -> None:
    with suppress(BadRequest):
        body = validate(MessagesRequest, request)
        edits = body.context_management.edits if body.context_management else ()
        changed = await edited(to_conversation(body), edits, _count)
        render(changed.conversation)
        to_generation(body)


async def _count(conversation: Conversation) -> int:
    return len(render(conversation).tokens)
