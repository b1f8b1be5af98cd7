"""`llm-server explain`: what a recorded model output means, by the parser that reads live ones.

Reads JSON lines and prints one JSON line each, so that a surprising answer can be looked at without a model. Prints
how many tokens each channel had, and never the text of analysis.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from llm_server.events import Block
from llm_server.harmony.recorded import Recording, Segment, encode_segments, parse_text, parse_tokens


class UnreadableLine(ValueError):
    """A line is no recording."""


def main(arguments: Sequence[str]) -> int:
    """Explain a file, or standard input for `-`. Returns 1 if any line could not be read."""
    options = _parser().parse_args(arguments)
    tools = [name for name in options.tools.split(",") if name]
    if options.file == "-":
        return explain(sys.stdin, sys.stdout, tools, show_events=options.events)
    try:
        with Path(options.file).open(encoding="utf-8") as lines:
            return explain(lines, sys.stdout, tools, show_events=options.events)
    except OSError as error:
        sys.stderr.write(f"llm-server: {options.file}: {error.strerror}\n")
        return 2


def explain(lines: Iterable[str], output: IO[str], tools: Sequence[str], *, show_events: bool = False) -> int:
    """One JSON line for each: `content`, `tool_calls`, `finish_reason`, `channels`, `repairs`, or `error`."""
    unreadable = 0
    for line in filter(str.strip, lines):
        try:
            recording = read(line, tools)
        except UnreadableLine as error:
            unreadable = 1
            print(json.dumps({"error": str(error)}), file=output)
            continue
        for explanation in _events(recording) if show_events else [summary(recording)]:
            print(json.dumps(explanation, ensure_ascii=False), file=output)
    return unreadable


def read(line: str, tools: Sequence[str] = ()) -> Recording:
    """A line with `tokens`, `segments` or `raw`, and perhaps `tools` and `truncated`, as what it means.

    Raises:
        UnreadableLine: it is no JSON object, or holds none of the three.
    """
    try:
        record = json.loads(line)
    except ValueError:
        raise UnreadableLine("not a line of JSON") from None
    if not isinstance(record, dict):
        raise UnreadableLine("not a JSON object")
    declared = [*tools, *_names(record.get("tools"))]
    truncated = record.get("truncated")
    match record:
        case {"tokens": [*tokens]} if all(type(token) is int for token in tokens):
            return parse_tokens(tokens, declared, truncated=truncated)
        case {"segments": [*segments]}:
            return parse_tokens(encode_segments(map(_segment, segments)), declared, truncated=truncated)
        case {"raw": str(raw)}:
            return parse_text(raw, declared, truncated=truncated)
    raise UnreadableLine("none of `tokens` (integers), `segments` and `raw` (text) is there")


def summary(recording: Recording) -> dict[str, Any]:
    """What a client would be given, and what was put right on the way."""
    texts = [block.text for block in recording.blocks if block.kind == "text" and block.text]
    return {
        "content": "\n".join(texts) or None,
        "tool_calls": [_call(block) for block in recording.blocks if block.kind == "tool_call" and block.complete],
        "finish_reason": recording.finish_reason,
        "channels": dict(recording.channel_tokens),
        "repairs": [asdict(repair) for repair in recording.repairs],
        "undeclared_calls": list(recording.undeclared_calls),
    }


def _events(recording: Recording) -> Iterable[dict[str, Any]]:
    for event in recording.events:
        yield {"event": type(event).__name__, **asdict(event)}


def _call(block: Block) -> dict[str, str]:
    return {"name": block.tool_name, "arguments": block.text}


def _names(tools: Any) -> list[str]:
    """Declared tools as names, or as the objects of a request."""
    names = []
    for tool in tools if isinstance(tools, list) else []:
        match tool:
            case str() | {"function": {"name": str()}} | {"name": str()}:
                names.append(tool if isinstance(tool, str) else str(tool.get("function", tool)["name"]))
    return names


def _segment(segment: Any) -> Segment:
    """`["special", "<|call|>"]`, `{"special": "<|call|>"}` or `{"type": "text", "text": "…"}`."""
    match segment:
        case ["special" | "text" as kind, str(text)]:
            return kind, text
        case {"type": "special" | "text" as kind, "text": str(text)}:
            return kind, text
        case {"special": str(text)}:
            return "special", text
        case {"text": str(text)}:
            return "text", text
    raise UnreadableLine("a segment is neither special nor text")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="llm-server explain",
        description="Say what recorded model output means. Each line is a JSON object with `raw` (text in which markers"
        " stand for special tokens), `segments` (pairs of special or text, and the text) or `tokens` (ids), all from"
        " the first token after `<|start|>assistant`, and perhaps `tools`, the names that the request declared.",
    )
    parser.add_argument("file", metavar="FILE", help="JSON lines, or - for standard input")
    parser.add_argument("--tools", default="", metavar="A,B", help="tools that every line declares")
    parser.add_argument("--events", action="store_true", help="print the events instead of what they add up to")
    return parser
