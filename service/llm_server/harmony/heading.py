"""What a message's header means: who speaks, in which channel, to whom. Read leniently, decided strictly.

Knows headers and the tools that were declared, and nothing of bodies or events.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from llm_server.harmony.header import (
    CHANNELS,
    CONTENT_TYPES,
    RECIPIENT,
    Channel,
    Header,
    channel_in,
    is_addressed,
    is_clean,
    is_typed,
    without_assistant,
)
from llm_server.harmony.names import ToolNames, is_canonical
from llm_server.harmony.repairs import RepairKind

Purpose: TypeAlias = Literal[
    "reasoning",
    "answer",
    "preamble",
    "call",
    "undeclared_call",
    "unlabelled",
    "garbled",
    "foreign",
    "prompt",
    "broken",
]
Otherwise: TypeAlias = Literal["reasoning", "preamble"]

_USERS = frozenset({"user", "all", "everyone", "human"})
_PROMPTING = frozenset({"user", "system", "developer", "human"})
_BUILT_INS = frozenset({"python", "browser", "container"})
_TOOLS = frozenset({"tool", "function", "functions"}) | _BUILT_INS

_FROM_A_TOOL = re.compile(r"\s*(?!assistant|analysis|commentary|final)[\w.:/-]+\s+to\s*=\s*assistant\s*")
_FUNCTION = re.compile(r"(?<![\w.])(functions\.[\w.:/-]+)")
_NAME = re.compile(r"[\w.:/-]+")


@dataclass(frozen=True, slots=True)
class Heading:
    """What the header's message is. `tool`: the declared tool that is called, or the name of one that is not.

    "foreign" is what a tool would send, "prompt" what only stands in a prompt. `otherwise`: what a call is if its body
    is no JSON object; None if it is a call all the same. `repairs`: what was wrong with the header.
    """

    purpose: Purpose
    channel: Channel | None = None
    tool: str = ""
    otherwise: Otherwise | None = None
    repairs: tuple[RepairKind, ...] = ()

    @property
    def is_call(self) -> bool:
        """Whether it is sent to a tool, declared or not."""
        return self.purpose in ("call", "undeclared_call")

    def repaired(self, kind: RepairKind) -> Heading:
        return replace(self, repairs=(*self.repairs, kind))


def read_header(header: Header, names: ToolNames) -> Heading:
    """Read a complete header."""
    if (header.started or _FROM_A_TOOL.fullmatch(header.role)) and (heading := read_foreign(header.role, names)):
        return heading
    channel, repairs = _channel(header)
    recipient, otherwise = _addressee(header, channel, names)
    if recipient is None or recipient.casefold() in _USERS:
        return _said(channel, repairs, addressed=recipient is not None)
    if recipient.casefold() == "assistant":
        return _said_to_itself(channel, repairs)
    return _call(recipient, channel, names, repairs, otherwise=otherwise)


def read_foreign(role: str, names: ToolNames) -> Heading | None:
    """What a message is if somebody other than the assistant speaks: a user, a tool."""
    match = _NAME.search(role)
    name = match[0] if match else ""
    if name.startswith("assistant") or not name or RECIPIENT.match(role.lstrip()):
        return None
    if _FROM_A_TOOL.fullmatch(role):
        return Heading("foreign", repairs=("foreign_role",))
    if name.casefold() in _PROMPTING:
        return Heading("prompt", repairs=("foreign_role",))
    is_tool = "." in name.strip(".") or name.casefold() in _TOOLS or name in names
    return Heading("foreign", repairs=("foreign_role",)) if is_tool else None


def _said(channel: Channel | None, repairs: tuple[RepairKind, ...], *, addressed: bool) -> Heading:
    match channel:
        case "analysis":
            return Heading("reasoning", channel, repairs=repairs)
        case "final":
            return Heading("answer", channel, repairs=repairs)
        case "commentary":
            return Heading("preamble", channel, repairs=repairs)
        case None if addressed:
            return Heading("answer", "final", repairs=repairs)
        case None:
            return Heading("unlabelled", None, repairs=(*repairs, "unlabelled_text"))


def _said_to_itself(channel: Channel | None, repairs: tuple[RepairKind, ...]) -> Heading:
    """A message to the assistant is what tools send; from the model it is nobody's business."""
    if channel in ("analysis", "final"):
        return _said(channel, repairs, addressed=True)
    return Heading("foreign", channel, repairs=(*repairs, "foreign_role"))


def _call(
    recipient: str,
    channel: Channel | None,
    names: ToolNames,
    repairs: tuple[RepairKind, ...],
    *,
    otherwise: Otherwise | None,
) -> Heading:
    tool = names.resolve(recipient)
    if channel in ("analysis", "final") and "." not in recipient.removeprefix("functions."):
        repairs += ("call_channel",)
    if tool is None:
        return Heading("undeclared_call", channel, recipient, otherwise, repairs)
    if not is_canonical(recipient, tool):
        repairs += ("tool_name",)
    return Heading("call", channel, tool, otherwise, repairs)


def _addressee(header: Header, channel: Channel | None, names: ToolNames) -> tuple[str | None, Otherwise | None]:
    """The recipient, and what the message is if that turns out not to be meant. See `Heading`."""
    recipient = _recipient(header, names)
    if recipient is None:
        named = _with_name_in_channel(header, names)
        if bare := _bare_name(named.channel or "", names):
            alone = bare in names and bare in ((header.channel or "").strip(), (header.constrain or "").strip())
            return bare, _otherwise(named, channel, doubtful=alone)
    if recipient is None or (recipient.casefold() == "assistant" and is_typed(header)):
        inherited = _inherited(header, channel, names)
        if inherited is not None:
            return inherited, _otherwise(header, channel, doubtful=True)
    return recipient, _otherwise(header, channel, doubtful=recipient == (header.channel or "").strip())


def _otherwise(header: Header, channel: Channel | None, *, doubtful: bool) -> Otherwise | None:
    """What a call is without JSON. Thoughts may name a tool; but what has a content type is meant for the tool."""
    if is_typed(header):
        return None
    if channel == "commentary":
        return "preamble" if doubtful else None
    return "reasoning" if channel == "analysis" or doubtful else None


def _recipient(header: Header, names: ToolNames) -> str | None:
    """The recipient as it is written, "" if it was left out after `to=`, None if there is none. Of several, a tool."""
    channel = header.channel or ""
    role = header.role if is_addressed(header.role) else ""
    constrain = header.constrain or ""
    found = [_next_word(match, names) for text in (channel, role, constrain) for match in RECIPIENT.finditer(text)]
    if any(found):
        return next((recipient for recipient in found if names.resolve(recipient)), next(filter(None, found)))
    for text in (channel, role, constrain):
        if match := _FUNCTION.search(text):
            return match[1]
    return "" if found else None


def _next_word(match: re.Match[str], names: ToolNames) -> str:
    """`functions NAME` is written for `functions.NAME`, and `assistant NAME`, too."""
    recipient = match[1]
    if recipient.rstrip(".:").casefold() in ("functions", "assistant"):
        word = _NAME.search(match.string, match.end())
        if word and word[0] not in CONTENT_TYPES and names.resolve(word[0]):
            return word[0]
    return recipient


def _with_name_in_channel(header: Header, names: ToolNames) -> Header:
    """The header, with a tool that is named where the type should be moved to where a channel's name is."""
    name = (header.constrain or "").strip()
    if name not in names and name not in _BUILT_INS:
        return header
    return replace(header, channel=f"{header.channel or ''} {name}", constrain=None)


def _bare_name(channel: str, names: ToolNames) -> str | None:
    """A tool named without `to=`: behind a channel, or in place of one."""
    words = channel.split()
    if words and words[0] in names and words[0] not in CHANNELS:
        return words[0]
    if len(words) < 2 or words[0] not in ("analysis", "commentary") or words[1] in CONTENT_TYPES:
        return None
    return words[1] if words[1] in names or words[1] in _BUILT_INS else None


def _inherited(header: Header, channel: Channel | None, names: ToolNames) -> str | None:
    """A header that was begun again keeps the tool it was meant for, unless it has turned into an answer's."""
    if not header.inherited or (channel == "final" and channel_in(header.inherited) != "final"):
        return None
    match = RECIPIENT.search(header.inherited) or _FUNCTION.search(header.inherited)
    recipient = match[1] if match else header.inherited.split()[0]
    is_tool = match is not None and recipient.casefold() not in _USERS | {"assistant"}
    return recipient if is_tool or names.resolve(recipient) else None


def _channel(header: Header) -> tuple[Channel | None, tuple[RepairKind, ...]]:
    channel = channel_in((header.constrain if header.channel is None else header.channel) or "")
    repairs: tuple[RepairKind, ...] = ("abandoned_header",) if header.inherited else ()
    if not is_clean(header.role):
        repairs += ("unlabelled_text",)
    if channel is None and header.inherited:
        channel = channel_in(header.inherited)
    if channel is None:
        repairs += ("unknown_channel" if (header.channel or "").strip() else "missing_channel",)
        channel = channel_in(header.role[without_assistant(header.role) :]) if is_clean(header.role) else None
    return channel, repairs
