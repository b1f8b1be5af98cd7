"""Well-formed turns, rendered by the reference library, mean to this parser what they mean to the library's."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
from openai_harmony import Message, Role, StreamableParser

from llm_server.events import Block
from llm_server.harmony.encoding import CALL, END, RETURN, harmony_encoding
from llm_server.harmony.recorded import parse_tokens

TURNS = 300
ALPHABETS = (
    "abc XYZ.,!?\n",
    "äöüßéñ ",
    "дуб и вяз ",
    "橡树和榆树。",
    "🌳🌱👩🏽‍🌾🇫🇮 ",
    '{}[]":\\/<|>= ',
    "0123456789-+e. ",
)
TOOLS = ("plant", "get_weather", "mcp__garden__prune-tree.now", "3d_view")


def words(chance: random.Random) -> str:
    """Any text that does not begin as JSON and is not blank."""
    alphabet = chance.choice(ALPHABETS)
    return "Well, " + "".join(chance.choice(alphabet) for _ in range(chance.randrange(60)))


def arguments(chance: random.Random, depth: int = 0) -> Any:
    match chance.randrange(4 if depth < 3 else 2):
        case 0:
            return words(chance)
        case 1:
            return chance.choice([None, True, -3, 2.5e-7, 10**20, ""])
        case 2:
            return [arguments(chance, depth + 1) for _ in range(chance.randrange(4))]
        case _:
            return {words(chance): arguments(chance, depth + 1) for _ in range(chance.randrange(4))}


def turn(chance: random.Random) -> list[Message]:
    """Thoughts and preambles in any order, then a call or an answer."""
    said = [
        Message.from_role_and_content(Role.ASSISTANT, words(chance)).with_channel(
            chance.choice(["analysis", "analysis", "commentary"])
        )
        for _ in range(chance.randrange(4))
    ]
    if chance.random() < 0.4:
        return [*said, Message.from_role_and_content(Role.ASSISTANT, words(chance)).with_channel("final")]
    body = json.dumps({"a": arguments(chance)}, ensure_ascii=chance.random() < 0.5, indent=chance.choice([None, 2]))
    call = Message.from_role_and_content(Role.ASSISTANT, body).with_channel("commentary")
    call = call.with_recipient(f"functions.{chance.choice(TOOLS)}")
    return [*said, call.with_content_type(chance.choice(["<|constrain|>json", "json"]))]


def generated(messages: Sequence[Message]) -> list[int]:
    """The tokens that the model would have generated, from behind the prompt's `<|start|>assistant` on."""
    encoding = harmony_encoding()
    tokens = [token for message in messages for token in encoding.render(message)]
    start = encoding.encode("<|start|>assistant", allowed_special={"<|start|>"})
    assert tokens[: len(start)] == start
    assert tokens[-1] in (END, CALL)
    return [*tokens[len(start) : -1], CALL if tokens[-1] == CALL else RETURN]


def as_the_library_reads(tokens: Sequence[int]) -> list[tuple[str, str, str]]:
    reader = StreamableParser(harmony_encoding(), Role.ASSISTANT)
    for token in tokens:
        reader.process(token)
    return [
        (message.channel, (message.recipient or "").removeprefix("functions."), message.content[0].text)
        for message in reader.messages
    ]


def as_blocks(messages: Sequence[tuple[str, str, str]]) -> list[tuple[str, bool, str, str]]:
    return [
        ("reasoning", False, "", "")
        if channel == "analysis"
        else ("tool_call" if recipient else "text", channel == "commentary" and not recipient, recipient, text)
        for channel, recipient, text in messages
    ]


def shape(block: Block) -> tuple[str, bool, str, str]:
    return block.kind, block.preamble, block.tool_name, block.text


@pytest.mark.parametrize("seed", range(10))
def test_well_formed_turns_are_read_as_the_reference_library_reads_them(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(TURNS // 10):
        tokens = generated(turn(chance))
        recording = parse_tokens(tokens, TOOLS, truncated=False)
        assert list(map(shape, recording.blocks)) == as_blocks(as_the_library_reads(tokens))
        assert recording.repairs == ()
        assert all(block.complete for block in recording.blocks)
        assert sum(block.tokens for block in recording.blocks) == len(tokens)
        assert recording.finish_reason == ("tool_calls" if tokens[-1] == CALL else "stop")
