"""Held-out prompts with the replies that are right, for evaluation and tests. Knows no model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from gpt_oss_tiny.corpus import FRAME, scenes
from gpt_oss_tiny.draw import Split
from gpt_oss_tiny.scene import conversation, emission, prompt
from llm_server.conversation import GenerationRequest
from llm_server.harmony.encoding import END, is_special, token_bytes

SEED = 77
"""Scenes of evaluation are drawn from other seeds than those of training, besides being held out."""


@dataclass(frozen=True, slots=True)
class Case:
    """A request, its prompt, which ends in `<|start|>assistant`, and what should follow up to the stop token."""

    skill: str
    split: Split
    request: GenerationRequest
    prompt: list[int]
    expected: list[int]

    @property
    def longest(self) -> int:
        """Tokens of the reply that is right."""
        return len(self.expected)

    def passed(self, emitted: Sequence[int]) -> bool:
        """Whether all that a client would see is right: texts, the tool's name, its arguments, and the end."""
        said, right = _visible(emitted), _visible(self.expected)
        return said == right or (said[-1:] == right[-1:] and _read(said) == _read(right))

    def thought_right(self, emitted: Sequence[int]) -> bool:
        """Whether the analysis is word for word the expected one, and so has as many sentences as the effort asks."""
        return _read(emitted[: _length(emitted)]) == _read(self.expected[: _length(self.expected)])


def cases(skill: str, split: Split, count: int) -> list[Case]:
    """This many cases of a skill; every reply of an exchange has its turn, with and without the analysis before it."""
    found: list[Case] = []
    for number, scene in enumerate(scenes(SEED, split, skill, count)):
        reply = number % len(scene.last.replies)
        if scene.calls_first and reply == 1:
            reply = 2
        kept = not scene.calls_first and number // len(scene.last.replies) % 2 == 1
        after_a_tool = reply > 0 and scene.last.replies[reply].call is None and skill not in ("two calls", FRAME)
        name = "tool result" if after_a_tool else skill
        expected = emission(scene.last.replies[reply], scene.effort)
        request = GenerationRequest(conversation(scene, reply), answer_schema=scene.answer_schema)
        found.append(Case(name, split, request, prompt(scene, reply, kept), expected))
    return found


def _length(emitted: Sequence[int]) -> int:
    """Tokens of the analysis, with the one that ends it."""
    return list(emitted).index(END) + 1 if END in emitted else len(emitted)


def _read(said: Sequence[int]) -> tuple[bytes, ...]:
    """Headers and texts, with JSON objects in one spelling: spaces and the order of their keys mean nothing.

    Nor does it matter of which tokens a text consists.
    """
    parts: list[bytes] = [b""]
    for token in said:
        parts = [*parts, b""] if is_special(token) else [*parts[:-1], parts[-1] + token_bytes(token)]
    return tuple(_canonical(part) for part in parts)


def _canonical(text: bytes) -> bytes:
    try:
        return json.dumps(json.loads(text), sort_keys=True).encode() if text.startswith(b"{") else text
    except ValueError:
        return text


def _visible(emitted: Sequence[int]) -> list[int]:
    return list(emitted[_length(emitted) :])
