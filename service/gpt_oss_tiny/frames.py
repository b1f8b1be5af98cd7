"""The frame in which a coding agent asks: thousands of tokens of instructions, and many tools with long descriptions.

A scene stays what it is, but stands at the end of much that does not matter. The prose is that of Python's own
documentation, which every Python has; one paragraph in six is held out. Knows nothing of skills.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from pydoc_data.topics import topics
from typing import Any, Final

from gpt_oss_tiny import phrases, values
from gpt_oss_tiny.draw import PHRASINGS_HELD_OUT, Draw, held_out
from gpt_oss_tiny.scene import Scene
from llm_server.conversation import Tool

FEWEST_CHARACTERS: Final = 2_000
MOST_CHARACTERS: Final = 48_000
"""About four characters are a token."""

PARAGRAPH: Final = (40, 1500)
"""Characters of a paragraph."""


def framed(d: Draw, scene: Scene) -> Scene:
    """The same scene as an agent would bring it before the model."""
    size = math.exp(math.log(FEWEST_CHARACTERS) + d.random.random() * math.log(MOST_CHARACTERS / FEWEST_CHARACTERS))
    for_tools = size * d.random.random() * 0.7 if scene.tools else 0.0
    tools = tuple(_explained(d, tool, for_tools / len(scene.tools)) for tool in scene.tools)
    return _with_context(d, replace(scene, tools=_with_agents_own(d, tools) if tools else ()), size - for_tools)


def _with_context(d: Draw, scene: Scene, size: float) -> Scene:
    """All of it in the developer's instructions, or a part of it in what the user is made to say."""
    for_user = size * d.random.random() * 0.6 if d.chance(0.4) else 0.0
    rules = prose(d, size - for_user)
    instructions = (rules, *scene.instructions) if d.chance(0.7) else (*scene.instructions, rules)
    first, *others = scene.exchanges
    if d.chance(0.08) and '"' not in first.user:
        first = replace(first, user=f'"{first.user}"')
    if for_user and d.chance(0.5):
        tag = d.pick(TAGS)
        first = replace(first, user=f"<{tag}>\n{prose(d, for_user)}\n</{tag}>\n{d.pick(('', chr(10)))}{first.user}")
    elif for_user:
        scene = replace(scene, before=tuple(prose(d, for_user / 2) for _ in range(d.between(1, 2))))
    return replace(scene, instructions=instructions, exchanges=(first, *others))


TAGS: Final = ("system-reminder", "environment_context", "context", "INSTRUCTIONS", "env", "user_instructions", "note")


def prose(d: Draw, size: float) -> str:
    """Instructions of about so many characters: paragraphs, lists and headings."""
    parts = [d.pick(phrases.INSTRUCTIONS.train)]
    length = 0
    while length < size:
        parts.append(_part(d))
        length += len(parts[-1])
    return d.pick(("\n\n", "\n\n", "\n")).join(parts)


def _part(d: Draw) -> str:
    kind = d.random.random()
    if kind < 0.15:
        return f"{d.pick(('#', '##', '##', '###'))} {values.capitalized(d, d.between(1, 3))}"
    if kind < 0.5:
        mark = d.pick(("- ", "- ", "* ", ""))
        return "\n".join(mark + rule(d).removeprefix("- ").removeprefix("* ") for _ in range(d.between(2, 8)))
    return d.pick(_paragraphs(d.split == "train"))


def rule(d: Draw) -> str:
    """A line of instructions that asks for nothing which could be seen."""
    return d.pick(phrases.LONG_INSTRUCTIONS).format(w=values.word(d), v=values.word(d), n=values.integer(d))


@cache
def _paragraphs(taught: bool) -> tuple[str, ...]:
    """The paragraphs that training reads, or those that are held out."""
    texts = (part.strip("\n") for topic in topics.values() for part in topic.split("\n\n"))
    least, most = PARAGRAPH
    fitting = dict.fromkeys(text for text in texts if least <= len(text) <= most)
    return tuple(text for text in fitting if held_out(text, PHRASINGS_HELD_OUT) != taught)


def _explained(d: Draw, tool: Tool, size: float) -> Tool:
    """The tool with a description that goes on for about so many characters."""
    if size < PARAGRAPH[0] or d.chance(0.2):
        return tool
    text = (tool.description or "").rstrip(".")
    return replace(tool, description=f"{text}.\n\n{prose(d, size)}" if text else tool.description)


def _with_agents_own(d: Draw, tools: tuple[Tool, ...]) -> tuple[Tool, ...]:
    """Beside these tools, some that agents have for themselves and that no request is for."""
    taken = {tool.name for tool in tools}
    own = [Tool(name, text, parameters) for name, text, parameters in d.sample(AGENTS_OWN, d.between(0, 5))]
    mixed = [*tools, *(tool for tool in own if tool.name not in taken)]
    d.random.shuffle(mixed)
    return tuple(mixed)


def _object(required: int, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object", "properties": properties, "required": list(properties)[:required],
        "additionalProperties": False,
    }  # fmt: skip


_TEXT: Final = {"type": "string"}
_STATUS: Final = {"type": "string", "enum": ["pending", "in_progress", "completed"]}


def _list(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": of}


AGENTS_OWN: Final[tuple[tuple[str, str, dict[str, Any]], ...]] = (
    ("todowrite", "Keep a structured list of the steps of this session", _object(1, todos=_list(
        _object(3, content=_TEXT, status=_STATUS, priority=_TEXT)))),
    ("update_plan", "Updates the plan of the work", _object(1, plan=_list(_object(2, step=_TEXT, status=_STATUS)),
        explanation=_TEXT)),
    ("task", "Launch a new agent for work of many steps", _object(3, description={"type": "string",
        "description": "A short description of the work in 3-5 words"}, prompt=_TEXT, subagent_type=_TEXT)),
    ("Agent", "Start an agent that works on its own", _object(2, description=_TEXT, prompt=_TEXT,
        model={"type": "string", "enum": ["small", "large"]}, run_in_background={"type": "boolean"})),
    ("skill", "Load a skill with special instructions", _object(1, name={"type": "string",
        "description": "The name of the skill"})),
    ("question", "Ask the user questions while you work", _object(1, questions=_list(_object(2, question=_TEXT,
        header=_TEXT, options=_list(_object(2, label=_TEXT, description=_TEXT)), multiple={"type": "boolean"})))),
    ("request_user_input", "Ask one to three short questions and wait", _object(1, questions=_list(_object(3,
        header=_TEXT, id=_TEXT, question=_TEXT)))),
    ("write_stdin", "Writes characters to a session that runs", _object(1, session_id={"type": "number"}, chars=_TEXT,
        yield_time_ms={"type": "number"})),
    ("ExitPlanMode", "Leave the mode in which only plans are made", _object(0, plan=_TEXT)),
    ("list_mcp_resources", "Lists resources that servers provide", _object(0, server=_TEXT, cursor=_TEXT)),
    ("spawn_agent", "Spawn an agent and return its id", _object(1, message=_TEXT, agent_type=_TEXT)),
    ("wait_agent", "Wait until agents have ended", _object(1, ids=_list(_TEXT), timeout_ms={"type": "number"})),
)  # fmt: skip
