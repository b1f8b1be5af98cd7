"""Whatever JSON a client sends: it is either understood, down to the tokens of its prompt, or refused with a reason.

And what is kept of it says the same again: a later request that goes on from it sees the same conversation.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from arbitrary_json import values
from llm_server.api.body import validate
from llm_server.api.openai_responses.items import read_items
from llm_server.api.openai_responses.kept import kept_items
from llm_server.api.openai_responses.reader import History, Reader
from llm_server.api.openai_responses.request import check_supported, to_generation, toolbox
from llm_server.api.openai_responses.response import draft
from llm_server.api.openai_responses.schema import ResponseRequest
from llm_server.conversation import GenerationDefaults, Item
from llm_server.errors import BadRequest
from llm_server.harmony.render import render

TYPES = st.sampled_from(
    [
        *("message", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output"),
        *("reasoning", "compaction", "item_reference", "local_shell_call", "local_shell_call_output", "shell_call"),
        *("shell_call_output", "apply_patch_call", "apply_patch_call_output", "mcp_call", "tool_search_output"),
        *("additional_tools", "web_search_call", "compaction_trigger", "function", "custom", "namespace", "grammar"),
        *("input_text", "output_text", "refusal", "reasoning_text", "input_image", "auto", "required", "allowed_tools"),
    ]
)
WORDS = st.sampled_from(["user", "assistant", "developer", "a", "b", "completed", "commentary", "<|end|>", ""]) | TYPES
KEYS = st.sampled_from(
    [
        *("role", "content", "type", "text", "name", "namespace", "call_id", "arguments", "input", "output", "id"),
        *("encrypted_content", "summary", "status", "phase", "action", "operation", "tools", "parameters", "format"),
        *("syntax", "definition", "schema", "effort", "verbosity", "mode", "refusal", "stdout", "stderr", "outcome"),
    ]
)
VALUES = values(WORDS, KEYS)
PARTS = st.lists(st.fixed_dictionaries({"type": TYPES}, optional={"text": WORDS, "refusal": WORDS}), max_size=3)
ITEMS = st.fixed_dictionaries(
    {},
    optional={
        "type": TYPES,
        "role": WORDS,
        "content": WORDS | PARTS | VALUES,
        "call_id": st.sampled_from(["call_1", "call_2"]),
        "id": WORDS | st.none(),
        "name": st.sampled_from(["read", "close", "patch"]) | WORDS,
        "namespace": st.sampled_from(["agents"]) | st.none(),
        "arguments": WORDS,
        "input": WORDS,
        "output": WORDS | PARTS | VALUES,
        "encrypted_content": WORDS | VALUES,
        "status": WORDS,
        "phase": WORDS,
        "action": VALUES,
        "tools": st.lists(VALUES, max_size=2),
    },
)
TOOLS = st.fixed_dictionaries({"type": TYPES, "name": WORDS}, optional={"parameters": VALUES, "format": VALUES})
FIELDS = {name: VALUES for name in ResponseRequest.model_fields if name not in ("model", "input", "tools")}
WILD = st.fixed_dictionaries(
    {"model": st.just("m"), "input": st.lists(ITEMS, max_size=4) | VALUES},
    optional={"tools": st.lists(TOOLS, max_size=2) | VALUES, **FIELDS},
)


def opened(seal: str) -> str | None:
    return "A summary." if seal == "a" else None


@given(WILD)
def test_every_request_is_understood_or_refused(request: dict[str, Any]) -> None:
    with suppress(BadRequest):
        body = validate(ResponseRequest, request)
        check_supported(body)
        history = History(read_items(body.input or []), opened)
        tools = toolbox(body, history)
        render(to_generation(body, history, tools).conversation)
        draft(body, "m", GenerationDefaults(), store=True)


def told(items: list[dict[str, Any]]) -> list[Item]:
    body = validate(ResponseRequest, {"model": "m", "input": items, "tools": []})
    history = History(read_items(items), opened)
    return list(Reader(toolbox(body, history), opened).read(history))


NEED_CALL_IDS = ("function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output")


def identified(item: dict[str, Any]) -> dict[str, Any]:
    """With an id, as any item may have. Calls that the API's own tools make are often known by nothing else."""
    call_id = {"call_id": item.get("call_id", "call_1")} if item.get("type") in NEED_CALL_IDS else {}
    return {**item, "id": item.get("id") or "id_1", **call_id}


@given(st.lists(ITEMS.map(identified), max_size=5))
def test_what_is_kept_says_what_was_said(items: list[dict[str, Any]]) -> None:
    with suppress(BadRequest):
        said = told(items)
        kept = kept_items(items)
        assert told(kept) == said
        assert kept_items(kept) == kept
        assert all(isinstance(item["id"], str) and item["id"] for item in kept)
