"""Whatever JSON a client sends: it is either understood, down to the tokens of its prompt, or refused with a reason."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from arbitrary_json import values
from llm_server.api.body import validate
from llm_server.api.openai_chat.request import to_generations
from llm_server.api.openai_chat.schema import ChatRequest
from llm_server.errors import BadRequest
from llm_server.harmony.render import render

WORDS = st.sampled_from(
    ["user", "assistant", "tool", "system", "text", "function", "auto", "none", "required", "a", "<|end|>", ""]
)
KEYS = st.sampled_from(
    [
        *("role", "content", "type", "text", "name", "tool_calls", "tool_call_id", "function", "arguments", "id"),
        *("function_call", "parameters", "properties", "description", "enum", "items", "$ref", "schema", "json_schema"),
        *("effort", "include_usage", "mode", "tools", "allowed_tools", "1", "refusal", "anyOf", "required"),
    ]
)
VALUES = values(WORDS, KEYS)
CALLS = st.fixed_dictionaries({"id": WORDS, "function": st.fixed_dictionaries({"name": WORDS, "arguments": WORDS})})
MESSAGES = st.fixed_dictionaries(
    {"role": WORDS},
    optional={
        "content": WORDS | VALUES,
        "tool_calls": st.lists(CALLS, max_size=2) | VALUES,
        "tool_call_id": WORDS,
        "name": WORDS,
    },
)
TOOLS = st.fixed_dictionaries(
    {"type": st.just("function"), "function": st.fixed_dictionaries({"name": WORDS}, optional={"parameters": VALUES})}
)
FIELDS = {name: VALUES for name in ChatRequest.model_fields if name not in ("model", "messages", "tools")}
WILD = st.fixed_dictionaries(
    {"model": st.just("m"), "messages": st.lists(MESSAGES, max_size=4) | VALUES},
    optional={"tools": st.lists(TOOLS, max_size=2) | VALUES, **FIELDS},
)
NEARLY_RIGHT = st.fixed_dictionaries(
    {"model": st.just("m"), "messages": st.lists(MESSAGES, min_size=1), "tools": st.lists(TOOLS)}
)


@given(WILD | NEARLY_RIGHT)
def test_every_request_is_understood_or_refused(request: dict[str, Any]) -> None:
    with suppress(BadRequest):
        for generation in to_generations(validate(ChatRequest, request)):
            render(generation.conversation)
