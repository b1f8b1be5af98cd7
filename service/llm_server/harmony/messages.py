"""Single Harmony messages as token ids, each from its `<|start|>` to the token that ends it.

What is said is encoded as ordinary text, so nothing in it can become a special token. Knows no conversation.
"""

from __future__ import annotations

from collections.abc import Sequence

from llm_server.harmony.encoding import CALL, CHANNEL, CONSTRAIN, END, MESSAGE, START, encode


def assistant_start() -> list[int]:
    """Where the model goes on: `<|start|>assistant`."""
    return [START, *encode("assistant")]


def framed(author: str, text: str, *, channel: str = "") -> list[int]:
    """A message of text. Without a channel it is a system's, a developer's or a user's."""
    marked = [CHANNEL, *encode(channel)] if channel else []
    return [START, *encode(author), *marked, MESSAGE, *encode(text), END]


def preamble(text: str) -> list[int]:
    """What the assistant told the user before it went on."""
    return framed("assistant", text, channel="commentary")


def thought(body: Sequence[int]) -> list[int]:
    """A message of analysis with this body, which has to be ordinary tokens."""
    return [*assistant_start(), CHANNEL, *encode("analysis"), MESSAGE, *body, END]


def call(tool: str, arguments: str, *, freeform: bool = False) -> list[int]:
    """A call of a function with its arguments' JSON text, or of a tool that takes plain text."""
    author = encode(f"assistant to=functions.{tool}")
    content_type = encode("commentary") if freeform else [*encode("commentary "), CONSTRAIN, *encode("json")]
    return [START, *author, CHANNEL, *content_type, MESSAGE, *encode(arguments), CALL]
