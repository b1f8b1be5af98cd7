"""The corpus: scenes of all skills in their proportions, and the documents that training reads.

Endless and reproducible: a seed gives a scene. What the split rule of `gpt_oss_tiny.draw` holds out is never drawn for
training. Knows nothing of tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from gpt_oss_tiny import formats, phrases, questions, skills, tool_skills, tools, values
from gpt_oss_tiny.draw import Draw, Split
from gpt_oss_tiny.scene import THOUGHTS, Document, Exchange, Scene, document, transcript
from llm_server.conversation import ReasoningEffort, Tool


def _plain(name: str, *exchanges: Callable[[Draw], Exchange]) -> Callable[[Draw], Scene]:
    return lambda d: Scene(name, (d.pick(exchanges)(d),))


NO_TOOL = (
    skills.greeting, skills.count, skills.repeat, skills.about_itself, skills.fact, skills.explanation, skills.untaught,
    skills.capital, skills.add,
)  # fmt: skip
CHATTER = (
    skills.greeting, skills.count, skills.repeat, skills.about_itself, skills.fact, skills.explanation, skills.add,
    skills.capital, skills.untaught,
)  # fmt: skip
_MISLEADING: Final[dict[Callable[[Draw], Exchange], frozenset[str]]] = {
    skills.add: frozenset({"an addition", "a calculation", "a product"}),
    skills.explanation: frozenset({"a search", "the news", "a definition"}),
}
"""Kinds of tools that must not be declared when the model should answer by itself."""


def no_tool(d: Draw) -> Scene:
    answer = d.pick(NO_TOOL)
    misleading = _MISLEADING.get(answer, frozenset())
    wanted = next((r for r in (_request_of(d, about) for about in sorted(misleading))), None)
    declared = tool_skills.other_tools(d, wanted, d.between(1, 4))
    return Scene("no tool needed", (answer(d),), tools=tuple(declared))


def _request_of(d: Draw, about: str) -> tool_skills.Request:
    return tool_skills.Request(about, Tool(values.word(d)), "", {})


def tool_call(d: Draw) -> Scene:
    return tool_skills.single(d, tool_skills.request(d, d.pick(tools.DOMAINS)))


def described_tool(d: Draw) -> Scene:
    return replace(tool_skills.single(d, tool_skills.described(d)), skill="described tool")


def named_tool(d: Draw) -> Scene:
    return replace(tool_skills.single(d, tool_skills.named(d)), skill="named tool")


def remembered(d: Draw) -> Scene:
    """Something told in an earlier turn, with up to two other turns between."""
    told, asked = skills.memory(d)
    between = tuple(d.pick(CHATTER)(d) for _ in range(d.pick((0, 0, 1, 1, 2))))
    exchanges = (told, *between, asked) if d.chance(0.85) else (told,)
    return Scene("memory", exchanges)


def several_turns(d: Draw) -> Scene:
    """Three to six turns of all kinds, some of them with tools."""
    turns: list[Exchange] = []
    declared: list[Tool] = []
    for _ in range(d.between(2, 5)):
        turns += _turn(d, declared)
    last = _turn(d, declared)
    exchanges = (*turns[:5], *last) if len(last) == 1 else (last[0], *turns[:4], last[1])
    return Scene("several turns", exchanges, tools=tool_skills.shuffled(d, *declared))


def _turn(d: Draw, declared: list[Tool]) -> list[Exchange]:
    kind = d.random.random()
    if kind < 0.6:
        return [d.pick(CHATTER)(d)]
    if kind < 0.75:
        return list(skills.memory(d))
    wanted = tool_skills.tool_request(d)
    if len(declared) > 3 or any(tool.name == wanted.tool.name for tool in declared):
        return [d.pick(CHATTER)(d)]
    declared.append(wanted.tool)
    return [tool_skills.exchange(d, wanted)]


SKILLS: Final[dict[str, tuple[float, Callable[[Draw], Scene]]]] = {
    "greeting": (0.025, _plain("greeting", skills.greeting)),
    "question": (0.07, _plain("question", skills.about_itself, skills.fact, skills.explanation)),
    "untaught": (0.045, _plain("untaught", skills.untaught)),
    "count": (0.04, _plain("count", skills.count)),
    "repeat": (0.075, _plain("repeat", skills.repeat)),
    "add": (0.05, _plain("add", skills.add)),
    "capital": (0.03, _plain("capital", skills.capital)),
    "memory": (0.045, remembered),
    "date": (0.012, skills.dated),
    "instructions": (0.06, skills.persona),
    "tool call": (0.165, tool_call),
    "described tool": (0.115, described_tool),
    "named tool": (0.07, named_tool),
    "no tool needed": (0.055, no_tool),
    "two calls": (0.065, tool_skills.two_calls),
    "preamble": (0.03, tool_skills.with_preamble),
    "structured answer": (0.055, formats.structured),
    "several turns": (0.06, several_turns),
}
"""Each skill's share of the scenes, and how to draw one."""

EFFORTS: Final[tuple[ReasoningEffort, ...]] = tuple(THOUGHTS)


def scene(d: Draw, skill: str) -> Scene | None:
    """One scene of this skill, or None when the draw fell into another split."""
    made = SKILLS[skill][1](d)
    if not _belongs(d, made):
        return None
    if skill != "date":
        made = replace(made, today=values.day(d))
    return replace(made, effort=d.pick(EFFORTS), instructions=_instructions(d, made))


def _belongs(d: Draw, made: Scene) -> bool:
    """Whether the scene is of the split that is drawn. What has one way of being asked is taught whatever its hash."""
    if made.last.user in questions.QUESTIONS and d.split != "new phrasings":
        return d.split == "train"
    return d.wants(made.last.user + made.last.replies[0].text)


def _instructions(d: Draw, made: Scene) -> tuple[str, ...]:
    if made.skill in ("instructions", "structured answer"):
        return made.instructions
    kind = d.random.random()
    around: tuple[str, ...] = ()
    if 0.5 <= kind < 0.92:
        around = (d.pick(phrases.INSTRUCTIONS.train),)
    elif kind >= 0.92:
        around = (_long_instructions(d, d.between(3, 14) if kind < 0.98 else d.between(20, 100)),)
    return (*around, *made.instructions) if d.chance(0.5) else (*made.instructions, *around)


def _long_instructions(d: Draw, count: int) -> str:
    lines = [d.pick(phrases.LONG_INSTRUCTIONS) for _ in range(count)]
    filled = (line.format(w=values.word(d), v=values.word(d), n=values.integer(d)) for line in lines)
    return d.pick(("\n", " ", "\n\n", "\n")).join((d.pick(phrases.INSTRUCTIONS.train), *filled))


def scenes(seed: int, split: Split, skill: str, count: int) -> list[Scene]:
    """This many scenes of one skill, the same for the same seed."""
    found: list[Scene] = []
    number = 0
    while len(found) < count and number < 400 * count:
        made = scene(Draw(seed * 1_000_003 + number, split), skill)
        number += 1
        if made is not None:
            found.append(made)
    return found


def training_document(seed: int) -> Document:
    """The document of this seed: one reply of a random scene, or all replies of its last exchange."""
    d = Draw(seed)
    made: Scene | None = None
    while made is None:
        names, shares = zip(*((name, share) for name, (share, _) in SKILLS.items()), strict=True)
        made = scene(d, d.random.choices(names, shares)[0])
    replies = len(made.last.replies)
    if replies > 1 and not made.calls_first and d.chance(0.6):
        return transcript(made)
    reply = d.between(0, replies - 1)
    if made.calls_first and reply == 1:
        reply = replies - 1
    return document(made, reply)
