"""Items as they are kept, and listed: each with an id, in the form in which the API returns it.

Of reasoning only the seal is kept, whoever sent it: what another server told of its model's thoughts is left out.
Knows no store.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any, Final

from llm_server.api.http import JSON
from llm_server.api.openai_responses.items import kind
from llm_server.api.openai_responses.output import new_id
from llm_server.api.openai_responses.reader import output_text
from llm_server.api.openai_responses.schema import LONGEST_ID

_PREFIXES: Final[Mapping[str, str]] = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "reasoning": "rs",
    "compaction": "cmp",
}
_PHASES: Final = ("commentary", "final_answer")
_CALLS_BY_ID: Final = frozenset(
    {
        *("local_shell_call", "shell_call", "apply_patch_call", "mcp_call"),
        *("local_shell_call_output", "shell_call_output", "apply_patch_call_output"),
    }
)
"""Items that name their call by their id where they have no `call_id`."""

_DONE: Final = {"status": "completed"}
_DONE_BY_CLIENT: Final = {**_DONE, "execution": "client"}
_LISTED: Final[Mapping[str, JSON]] = {
    "custom_tool_call": _DONE,
    "computer_call_output": _DONE,
    "shell_call": _DONE,
    "shell_call_output": _DONE,
    "tool_search_call": _DONE_BY_CLIENT,
    "tool_search_output": _DONE_BY_CLIENT,
}
"""What a list says of items, and their senders need not."""


def kept_items(items: Iterable[JSON], earlier: Iterable[JSON] = ()) -> list[JSON]:
    """What was asked, as it is kept. Items that are nothing but a reference have to be resolved before.

    An item has its caller's id, unless one before it has that, here or among `earlier` items: pages of a list follow
    each other by ids.
    """
    taken = {item["id"] for item in earlier}
    kept: list[JSON] = []
    for item in items:
        named = kind(item)
        identity = _identity(item, named, taken)
        taken.add(identity)
        kept.append(_kept(item, {"id": identity, "type": named}))
    return kept


def listed(item: JSON) -> JSON:
    """An item that was asked or answered, as the list of a response's input has it."""
    unsaid = {name: value for name, value in _LISTED.get(item["type"], {}).items() if item.get(name) is None}
    return {**item, **unsaid}


def _kept(item: JSON, kept: JSON) -> JSON:
    """`kept` is what it has in common with the others: its id and its type."""
    match named := kept["type"]:
        case "message":
            return {**kept, **_message(item)}
        case "function_call":
            return {**kept, "status": "completed", **_only(item, "call_id", "name", "namespace", "arguments", "status")}
        case "custom_tool_call":
            return {**kept, **_only(item, "call_id", "name", "namespace", "input")}
        case "function_call_output" | "custom_tool_call_output":
            names = ("call_id", "name", "namespace") if named == "function_call_output" else ("call_id",)
            return {**kept, "status": "completed", **_only(item, *names), "output": _output(item)}
        case "reasoning":
            return {**kept, "summary": [], **_only(item, "encrypted_content")}
    return {**item, **kept, **_call_id(item, kept)}


def _call_id(item: JSON, kept: JSON) -> JSON:
    """A call is known to its output by what it was called, also when its item had to be given another id."""
    if kept["type"] in _CALLS_BY_ID and not item.get("call_id") and item.get("id") not in (None, "", kept["id"]):
        return {"call_id": item["id"]}
    return {}


def _identity(item: JSON, named: str, taken: Set[str]) -> str:
    match item.get("id"):
        case str(identity) if 0 < len(identity) <= LONGEST_ID and identity not in taken:
            return identity
    return new_id(_PREFIXES.get(named, "item"))


def _only(item: JSON, *names: str) -> JSON:
    return {name: item[name] for name in names if item.get(name) is not None}


def _message(item: JSON) -> JSON:
    role = item["role"]
    is_answer = role == "assistant"
    parts = list(_parts(item.get("content"), _answer_part if is_answer else _input_part))
    phase = {"phase": item["phase"]} if is_answer and item.get("phase") in _PHASES else {}
    return {"role": role, "status": "completed", **phase, "content": parts}


def _parts(content: Any, part: Any) -> Iterator[JSON]:
    match content:
        case str(text):
            yield part({"text": text})
        case [*parts]:
            yield from (part(each) for each in parts if each.get("type") not in ("reasoning_text", "summary_text"))


def _input_part(part: JSON) -> JSON:
    return {"type": "input_text", "text": part.get("text") or part.get("refusal") or ""}


def _answer_part(part: JSON) -> JSON:
    if part.get("type") == "refusal":
        return {"type": "refusal", "refusal": part.get("refusal") or ""}
    return {"type": "output_text", "text": part.get("text") or "", "annotations": [], "logprobs": []}


def _output(item: JSON) -> str | list[JSON]:
    """A string, or parts with what a text model has read of them."""
    match item.get("output"):
        case [*parts]:
            return [_input_part({"text": output_text(part.get("type", ""), part.get("text"))}) for part in parts]
        case str(text):
            return text
    return ""
