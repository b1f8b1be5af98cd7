"""Tools that Anthropic has defined and clients run. A request names their type only, the model has to know the rest.

Source: the input types of the official `anthropic` SDK (`lib/tools`), and Anthropic's pages on the bash, text editor
and memory tools.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class ClientTool:
    description: str
    input_schema: dict[str, Any]


def client_tool(kind: str) -> ClientTool | None:
    """The tool of this type (`bash_20250124`), or None if it is one that another server runs, or unknown."""
    return next((tool for pattern, tool in _TOOLS if re.fullmatch(pattern, kind)), None)


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


def _commands(*names: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(names), "description": "What to do."}


_LINES: Final = {
    "type": "array",
    "items": {"type": "integer"},
    "description": "For view: the first and the last line, from 1; -1 is the end.",
}

_FILES: Final = {
    "path": _text("The file, or the folder to view."),
    "file_text": _text("For create: the whole content."),
    "old_str": _text("For str_replace: the text to replace, which must occur exactly once."),
    "new_str": _text("For str_replace: what to put in its place."),
    "insert_line": {"type": "integer", "description": "For insert: the line after which to insert; 0 is the start."},
    "insert_text": _text("For insert: the text."),
    "view_range": _LINES,
}

_BASH: Final = ClientTool(
    "Run a command in a bash session that keeps its state between calls.",
    {
        "type": "object",
        "properties": {
            "command": _text("The command. Required unless the session is restarted."),
            "restart": {"type": "boolean", "description": "Start a new session."},
        },
    },
)


def _editor(commands: dict[str, Any], files: dict[str, Any]) -> ClientTool:
    properties = {"command": commands, **files}
    schema = {"type": "object", "properties": properties, "required": ["command", "path"]}
    return ClientTool("View, create and edit text files.", schema)


_EDITOR: Final = _editor(_commands("view", "create", "str_replace", "insert"), _FILES)

_OLD_FILES: Final = {
    **{name: schema for name, schema in _FILES.items() if name != "insert_text"},
    "new_str": _text("For str_replace: what to put in its place. For insert: the text."),
}
_OLD_EDITOR: Final = _editor(_commands("view", "create", "str_replace", "insert", "undo_edit"), _OLD_FILES)

_MEMORY: Final = ClientTool(
    "Files below /memories that outlive this conversation. View the folder before anything else, for what you noted"
    " earlier, and note what will matter later.",
    {
        "type": "object",
        "properties": {
            "command": _commands("view", "create", "str_replace", "insert", "delete", "rename"),
            **_FILES,
            "old_path": _text("For rename: the present path."),
            "new_path": _text("For rename: the new path."),
        },
        "required": ["command"],
    },
)

_TOOLS: Final = (
    (r"bash_\d{8}", _BASH),
    (r"text_editor_(?:20241022|20250124)", _OLD_EDITOR),
    (r"text_editor_\d{8}", _EDITOR),
    (r"memory_\d{8}", _MEMORY),
)
