"""The corpus: scenes of all skills in their proportions, and the documents that training reads.

Endless and reproducible: a seed gives a scene. What the split rule of `gpt_oss_tiny.draw` holds out is never drawn for
training. Knows nothing of tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import Final

from gpt_oss_tiny import formats, phrases, questions, skills, tool_skills, tools, values
from gpt_oss_tiny.draw import Draw, Split
from gpt_oss_tiny.everyday import asked_everyday
from gpt_oss_tiny.frames import framed, rule
from gpt_oss_tiny.invented_tools import described, named
from gpt_oss_tiny.requests import Request, request
from gpt_oss_tiny.scene import THOUGHTS, Document, Exchange, Scene, document, transcript
from gpt_oss_tiny.tool_skills import rivals
from llm_server.conversation import ReasoningEffort


def _plain(name: str, *exchanges: Callable[[Draw], Exchange]) -> Callable[[Draw], Scene]:
    return lambda d: Scene(name, (d.pick(exchanges)(d),))


CHATTER = (
    skills.greeting, skills.count, skills.repeat, skills.about_itself, skills.fact, skills.explanation, skills.add,
    skills.capital, skills.untaught,
)  # fmt: skip
BESIDE_TOOLS = (*CHATTER[:-1], skills.untaught_beside_tools)
"""What may be said where tools are declared: nothing that some tool could be for."""

_MISLEADING: Final[dict[Callable[[Draw], object], frozenset[str]]] = {
    skills.add: frozenset({"an addition", "a calculation", "a product", "Python code"}),
    skills.explanation: frozenset({"a search", "the news", "a definition", "a summary"}),
    skills.about_itself: frozenset({"a plain status", "where the user is"}),
    skills.fact: frozenset({"a random number", "a search", "a definition", "a translation"}),
    skills.repeat: frozenset({"a file", "a note", "a message", "a translation", "Python code", "a chat post"}),
    skills.memory: frozenset({
        "a note", "a reminder", "a task", "a list of things", "a setting", "writing a file", "a contact", "a message"}),
}  # fmt: skip
"""Kinds of tools that must not be declared when the model should answer by itself."""


_ALSO: Final = {about: tool_skills.SHELL for about in tool_skills.SHELL} | {
    "the time": frozenset({"the time zone", "the sun"}), "a web page": frozenset({"a search", "a file"}),
    "an event": frozenset({"a reminder", "a task", "a meeting room", "a booking"}), "a flight": frozenset({"a search"}),
    "a search": frozenset({"a web page", "the news", "finding files"}), "a hotel": frozenset({"a search", "a booking"}),
    "an HTTP request": frozenset({"a command"}), "an alarm": frozenset({"a reminder", "a timer"}),
    "a timer": frozenset({"an alarm"}), "the calendar": frozenset({"the inbox"}), "the inbox": frozenset({"an email"}),
    "a booking": frozenset({"a restaurant", "a meeting room", "an event"}),
}  # fmt: skip
"""Kinds of tools with which one might do what a request of this kind asks for, though they are not made for it."""


def untaught(d: Draw) -> Scene:
    return Scene("untaught", (tool_skills.unserved(d)[1] if d.chance(0.25) else skills.untaught(d),))


def no_tool(d: Draw) -> Scene:
    """Tools are declared, and none of them is of use."""
    if d.chance(0.2):
        about, said = tool_skills.unserved(d)
        unwanted = _ALSO.get(about, frozenset()) | rivals(about)
    else:
        answer = d.pick(BESIDE_TOOLS)
        said, unwanted = answer(d), _MISLEADING.get(answer, frozenset())
    declared = tool_skills.other_tools(d, unwanted, set(), tool_skills.number_of_others(d) or 1)
    return Scene("no tool needed", (said,), tools=tuple(declared))


def tool_call(d: Draw) -> Scene:
    return tool_skills.single(d, request(d, d.pick(tools.ASKED_FOR)))


def described_tool(d: Draw) -> Scene:
    return replace(tool_skills.single(d, described(d)), skill="described tool")


def named_tool(d: Draw) -> Scene:
    return replace(tool_skills.single(d, named(d)), skill="named tool")


def remembered(d: Draw) -> Scene:
    """Something told in an earlier turn, with up to two other turns between."""
    told, asked = skills.memory(d)
    between = tuple(d.pick(CHATTER)(d) for _ in range(d.pick((0, 0, 1, 1, 2))))
    exchanges = (told, *between, asked) if d.chance(0.85) else (told,)
    return Scene("memory", exchanges)


def several_turns(d: Draw) -> Scene:
    """Two to six turns of all kinds, some of them with tools."""
    wanted: list[Request] = []
    for _ in range(d.pick((0, 1, 1, 2, 2, 3))):
        one = tool_skills.tool_request(d)
        if all(one.tool.name != other.tool.name and one.about not in rivals(other.about) for other in wanted):
            wanted.append(one)
    kinds = {one.about for one in wanted}
    said = [said for said in (BESIDE_TOOLS if wanted else CHATTER) if not _MISLEADING.get(said, frozenset()) & kinds]
    turns = [tool_skills.exchange(d, one) for one in wanted]
    turns += [d.pick(said)(d) for _ in range(d.between(2 - min(len(turns), 1), 5 - len(turns)))]
    d.random.shuffle(turns)
    if d.chance(0.2) and not _MISLEADING[skills.memory] & kinds:
        told, asked = skills.memory(d)
        turns = [told, *turns[:4], asked]
    tools = tool_skills.around(d, *wanted, count=0 if d.chance(0.7) else 1) if len(wanted) else ()
    return Scene("several turns", tuple(turns), tools=tools)


FRAME: Final = "agent's frame"
FRAMED: Final = {
    "no tool needed": 0.28, "tool call": 0.24, "several turns": 0.12, "two calls": 0.1, "described tool": 0.06,
    "named tool": 0.06, "chained calls": 0.05, "instructions": 0.03, "question": 0.03, "preamble": 0.03,
}  # fmt: skip
"""What agents ask for, with shares."""


def for_an_agent(d: Draw) -> Scene:
    """A scene of another skill, to be put into an agent's frame."""
    d.for_an_agent = True
    return replace(SKILLS[d.random.choices(tuple(FRAMED), tuple(FRAMED.values()))[0]][1](d), skill=FRAME)


SKILLS: Final[dict[str, tuple[float, Callable[[Draw], Scene]]]] = {
    "greeting": (0.02, _plain("greeting", skills.greeting)),
    "question": (0.02, _plain("question", skills.about_itself, skills.fact, skills.explanation)),
    "untaught": (0.03, untaught),
    "count": (0.02, _plain("count", skills.count)),
    "repeat": (0.03, _plain("repeat", skills.repeat)),
    "add": (0.02, _plain("add", skills.add)),
    "capital": (0.01, _plain("capital", skills.capital)),
    "memory": (0.03, remembered),
    "date": (0.01, skills.dated),
    "instructions": (0.04, skills.persona),
    "tool call": (0.16, tool_call),
    "described tool": (0.10, described_tool),
    "named tool": (0.07, named_tool),
    "no tool needed": (0.04, no_tool),
    "two calls": (0.13, tool_skills.two_calls),
    "chained calls": (0.06, tool_skills.chained),
    "preamble": (0.05, tool_skills.with_preamble),
    "structured answer": (0.06, formats.structured),
    "several turns": (0.06, several_turns),
    FRAME: (0.04, for_an_agent),
}
"""Each skill's share of the scenes, and how to draw one. What is learned with ease has little."""

EFFORTS: Final[tuple[ReasoningEffort, ...]] = tuple(THOUGHTS)


COMMON_DAYS: Final = tuple(date(2026, 1, 5) + timedelta(days=97 * n) for n in range(8))
"""Most scenes play on one of few days, whose system messages need not be rendered each time."""


def scene(d: Draw, skill: str) -> Scene | None:
    """One scene of this skill, or None when the draw fell into another split."""
    made = SKILLS[skill][1](d)
    if not _belongs(d, made):
        return None
    if skill != "date":
        made = replace(made, today=d.pick(COMMON_DAYS) if d.chance(0.7) else values.day(d))
    made = replace(made, effort=d.pick(EFFORTS))
    return framed(d, made) if skill == FRAME else replace(made, instructions=_instructions(d, made))


def _belongs(d: Draw, made: Scene) -> bool:
    """Whether the scene is of the split that is drawn. What has one way of being asked is taught whatever its hash."""
    if made.last.user in asked_everyday():
        return False
    if made.last.user in questions.QUESTIONS and d.split != "new phrasings":
        return d.split == "train"
    return d.wants(made.last.user + made.last.replies[0].text)


def _instructions(d: Draw, made: Scene) -> tuple[str, ...]:
    if made.skill in ("instructions", "structured answer"):
        return made.instructions
    kind = d.random.random()
    around: tuple[str, ...] = ()
    if 0.5 <= kind < 0.9:
        around = (d.pick(phrases.INSTRUCTIONS.train),)
    elif kind >= 0.9:
        lines = d.between(3, 14) if kind < 0.98 else d.between(20, 80) if kind < 0.993 else d.between(80, 270)
        around = (_long_instructions(d, lines),)
    return (*around, *made.instructions) if d.chance(0.5) else (*made.instructions, *around)


def _long_instructions(d: Draw, count: int) -> str:
    lines = (rule(d) for _ in range(count))
    return d.pick(("\n", " ", "\n\n", "\n")).join((d.pick(phrases.INSTRUCTIONS.train), *lines))


def scenes(seed: int, split: Split, skill: str, count: int) -> list[Scene]:
    """This many scenes of one skill, the same for the same seed."""
    found: list[Scene] = []
    number = 0
    while len(found) < count and number < 2000 * count:
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
