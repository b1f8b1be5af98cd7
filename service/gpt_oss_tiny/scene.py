"""A scene is a conversation with the replies that the model should give; here it becomes token ids to learn from.

The prompt is always rendered by the server's own `llm_server.harmony.render`, so that the model meets what it was
taught. Knows nothing of skills and nothing of tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from typing import Any, Final

from llm_server.conversation import (
    AssistantText,
    Conversation,
    Instructions,
    Item,
    ReasoningEffort,
    Tool,
    ToolCall,
    ToolResult,
    UserText,
)
from llm_server.harmony.encoding import CALL, CHANNEL, CONSTRAIN, END, MESSAGE, RETURN, START, encode
from llm_server.harmony.render import render

THOUGHTS: Final[dict[ReasoningEffort, int]] = {"low": 1, "medium": 2, "high": 4}
"""Sentences of analysis at each effort."""


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Reply:
    """One turn of the model: thoughts, the most important one first, then a final text, or a call after a preamble."""

    thoughts: tuple[str, ...]
    text: str = ""
    call: Call | None = None


@dataclass(frozen=True, slots=True)
class Exchange:
    """What the user says and the replies to it; between two replies stands the result of the first one's call."""

    user: str
    replies: tuple[Reply, ...]
    results: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scene:
    """The last exchange is the one to learn, the others are history. `before` are messages of the user to which there
    was no reply.

    `calls_first` puts all calls before all results, as clients do that run several at once. What `answer_schema` asks
    for is told in the instructions.
    """

    skill: str
    exchanges: tuple[Exchange, ...]
    instructions: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    effort: ReasoningEffort = "medium"
    today: date = field(default_factory=date.today)
    calls_first: bool = False
    answer_schema: Mapping[str, Any] | None = None
    before: tuple[str, ...] = ()

    @property
    def last(self) -> Exchange:
        return self.exchanges[-1]


@dataclass(frozen=True, slots=True)
class Document:
    """Token ids, and for each whether the model should predict it."""

    tokens: list[int]
    learned: list[bool]


def conversation(scene: Scene, replies: int) -> Conversation:
    """The conversation in which the last exchange's reply of this number is due."""
    items: list[Item] = [Instructions(text) for text in scene.instructions]
    items += [UserText(text) for text in scene.before]
    for number, exchange in enumerate(scene.exchanges):
        last = number == len(scene.exchanges) - 1
        items += _items(exchange, f"{number}", replies if last else len(exchange.replies), scene.calls_first)
    return Conversation(tuple(items), scene.tools, scene.effort, scene.today)


def _items(exchange: Exchange, prefix: str, replies: int, calls_first: bool) -> list[Item]:
    said: list[Item] = []
    heard: list[Item] = []
    for number, reply in enumerate(exchange.replies[:replies]):
        if reply.text:
            said.append(AssistantText(reply.text))
        if reply.call:
            name = f"{prefix}-{number}"
            said.append(ToolCall(name, reply.call.name, reply.call.arguments))
            result = ToolResult(name, reply.call.name, exchange.results[number])
            (heard if calls_first else said).append(result)
        else:
            said[-1:-1] = heard
            heard = []
    return [UserText(exchange.user), *said, *heard]


def emission(reply: Reply, effort: ReasoningEffort) -> list[int]:
    """What the model says after `<|start|>assistant`, token for token, up to `<|return|>` or `<|call|>`."""
    messages = [_said("analysis", " ".join(reply.thoughts[: THOUGHTS[effort]]))]
    if reply.call is None:
        messages.append([*_said("final", reply.text)[:-1], RETURN])
    else:
        if reply.text:
            messages.append(_said("commentary", reply.text))
        messages.append(_called(reply.call))
    tokens = [token for message in messages for token in message]
    return tokens[len(_assistant()) :]


def document(scene: Scene, reply: int) -> Document:
    """Learn one reply of the last exchange, and the texts of earlier final answers, which are as good to predict."""
    prompt = render(conversation(scene, reply))
    emitted = emission(scene.last.replies[reply], scene.effort)
    tokens = [*prompt.tokens, *emitted]
    learned = [False] * len(prompt.tokens) + [True] * len(emitted)
    final = _final_header()
    for number, part in enumerate(prompt.parts[:-1]):
        end = prompt.parts[number + 1].start
        start = part.start + len(final)
        if tokens[part.start : start] == final:
            learned[start : end - 1] = [True] * (end - 1 - start)
    return Document(tokens, learned)


def transcript(scene: Scene) -> Document:
    """Learn all replies of the last exchange at once, with the analysis before each call kept as it was emitted."""
    prompt = render(conversation(scene, 0))
    tokens, learned = list(prompt.tokens), [False] * len(prompt.tokens)
    for number, reply in enumerate(scene.last.replies):
        emitted = emission(reply, scene.effort)
        tokens += emitted
        learned += [True] * len(emitted)
        if reply.call:
            result = [*_result(scene, number), *_assistant()]
            tokens += result
            learned += [False] * len(result)
    return Document(tokens, learned)


def prompt(scene: Scene, reply: int, keep_analysis: bool) -> list[int]:
    """The tokens after which the reply of this number is due; `keep_analysis` of earlier replies to the same user."""
    if not keep_analysis:
        return list(render(conversation(scene, reply)).tokens)
    whole = transcript(scene)
    ends = [n for n, learned in enumerate(whole.learned[1:], 1) if learned and not whole.learned[n - 1]]
    return whole.tokens[: ends[reply]]


def _result(scene: Scene, number: int) -> list[int]:
    call = scene.last.replies[number].call
    assert call is not None
    only = (ToolCall("0", call.name, "{}"), ToolResult("0", call.name, scene.last.results[number]))
    rendered = render(Conversation(only, (), scene.effort, scene.today))
    return list(rendered.tokens[rendered.parts[-2].start : rendered.parts[-1].start])


def _said(channel: str, text: str) -> list[int]:
    return [*_assistant(), CHANNEL, *encode(channel), MESSAGE, *encode(text), END]


@cache
def _assistant() -> tuple[int, ...]:
    return (START, *encode("assistant"))


@cache
def _final_header() -> list[int]:
    return _said("final", "")[:-1]


def _called(call: Call) -> list[int]:
    """`<|start|>assistant<|channel|>commentary to=functions.NAME <|constrain|>json…`, as gpt-oss emits a call.

    In a prompt the recipient stands before the channel.
    """
    header = encode(f"commentary to=functions.{call.name} ")
    return [*_assistant(), CHANNEL, *header, CONSTRAIN, *encode("json"), MESSAGE, *encode(call.arguments), CALL]
