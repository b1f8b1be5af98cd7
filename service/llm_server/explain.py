"""`llm-server explain`: what a recorded model output means, by the parser that reads live ones.

Reads JSON lines and prints one JSON line each, so that a surprising answer can be looked at without a model. Prints
how many tokens each channel had, and never the text of analysis. A line that is no recording is told of on standard
error as well, by its number, and never by what it says.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import IO, Any, Final

from llm_server.events import Block, Finish
from llm_server.harmony.raw import unfinished
from llm_server.harmony.recorded import Recording, Segment, encode_segments, parse_tokens
from llm_server.stop_strings import StopStrings

_UNDECODED: Final = re.compile("[\udc80-\udcff]")
"""What a byte that is no UTF-8 is read as."""


class UnreadableLine(ValueError):
    """A line is no recording."""


@dataclass(frozen=True, slots=True)
class _Tools:
    """Names of declared tools. `freeform`: those whose input is no JSON."""

    names: tuple[str, ...] = ()
    freeform: tuple[str, ...] = ()

    def __add__(self, other: _Tools) -> _Tools:
        return _Tools(self.names + other.names, self.freeform + other.freeform)


def main(arguments: Sequence[str]) -> int:
    """Explain a file, or standard input for `-`. Returns 1 if a line could not be read, 2 if the file could not."""
    options = _parser().parse_args(arguments)
    try:
        lines = _input(options.file)
    except OSError as error:
        return _fail(options.file, error)
    try:
        with (
            lines,
            open(1, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False) as output,
        ):
            return explain(lines, output, _names(options.tools), show_events=options.events)
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        return _fail("standard output", error)


def _input(file: str) -> IO[str]:
    is_piped = file == "-"
    source = 0 if is_piped else file
    return open(source, encoding="utf-8-sig", errors="surrogateescape", newline="\n", closefd=not is_piped)


def _fail(what: str, error: OSError) -> int:
    sys.stderr.write(f"llm-server: {what}: {error.strerror}\n")
    return 2


def explain(lines: Iterable[str], output: IO[str], tools: Sequence[str], *, show_events: bool = False) -> int:
    """One JSON line for each: `content`, `tool_calls`, `finish_reason`, `channels`, `repairs`, or `error`."""
    unreadable = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            recording = read(line, tools)
        except UnreadableLine as error:
            unreadable = 1
            print(json.dumps({"error": str(error), "line": number}), file=output)
            sys.stderr.write(f"llm-server: line {number}: {error}\n")
            continue
        for explanation in _events(recording) if show_events else [summary(recording)]:
            print(json.dumps(explanation, ensure_ascii=False), file=output)
    return unreadable


def read(line: str, tools: Sequence[str] = ()) -> Recording:
    """A line with `tokens`, `segments` or `raw`, and perhaps `tools`, `truncated` and `stop`, as what it means.

    Raises:
        UnreadableLine: it is no JSON object, holds none of the three, or one of them is malformed.
    """
    record = _record(line)
    declared = _Tools(tuple(tools)) + _declared(record.get("tools"))
    truncated = record.get("truncated")
    if not isinstance(truncated, bool | None):
        raise UnreadableLine("`truncated` is neither true nor false")
    tokens, prompt = _tokens(record), _continued(record)
    recording = parse_tokens(tokens, declared.names, truncated=truncated, freeform=declared.freeform, continued=prompt)
    return _until(_stop_strings(record.get("stop")), recording)


def summary(recording: Recording) -> dict[str, Any]:
    """What a client would be given, and what was put right on the way."""
    texts = [block.text for block in recording.blocks if block.kind == "text" and block.text]
    return {
        "content": "\n".join(texts) or None,
        "tool_calls": [_call(block) for block in recording.blocks if block.kind == "tool_call" and block.complete],
        "finish_reason": "stop" if recording.finish_reason == "stop_sequence" else recording.finish_reason,
        "channels": dict(recording.channel_tokens),
        "repairs": [asdict(repair) for repair in recording.repairs],
        "undeclared_calls": list(recording.undeclared_calls),
    }


def _until(strings: Sequence[str], recording: Recording) -> Recording:
    """The recording up to the first of the request's stop strings. What came after it is counted, and not told."""
    stop = StopStrings(strings)
    events = [shown for event in recording.events for shown in stop.feed(event)]
    if stop.matched is None:
        return recording
    finish = Finish("stop_sequence", stop_sequence=stop.matched)
    return replace(recording, events=(*events, finish), finish_reason=finish.reason)


def _events(recording: Recording) -> Iterable[dict[str, Any]]:
    for event in recording.events:
        yield {"event": type(event).__name__, **asdict(event)}


def _call(block: Block) -> dict[str, str]:
    return {"name": block.tool_name, "arguments": block.text}


def _record(line: str) -> dict[str, Any]:
    if _UNDECODED.search(line):
        raise UnreadableLine("not UTF-8")
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise UnreadableLine("not a line of JSON") from None
    if not isinstance(record, dict):
        raise UnreadableLine("not a JSON object")
    return record


def _tokens(record: dict[str, Any]) -> list[int]:
    match record:
        case {"tokens": [*tokens]} if all(type(token) is int for token in tokens):
            return tokens
        case {"segments": [*segments]}:
            return encode_segments(map(_segment, segments))
        case {"raw": str(raw)}:
            return encode_segments([("special", raw)])
    raise UnreadableLine("none of `tokens` (integers), `segments` and `raw` (text) is there")


def _stop_strings(stop: Any) -> list[str]:
    match stop:
        case None:
            return []
        case str():
            return [stop]
        case [*strings] if all(isinstance(string, str) for string in strings):
            return strings
    raise UnreadableLine("`stop` is neither a string nor a list of them")


def _continued(record: dict[str, Any]) -> list[int]:
    """What to read first, if the output goes on in the middle of a prompt that nobody framed."""
    match record:
        case {"unframed": True, "prompt": [*prompt]} if all(type(token) is int for token in prompt):
            return unfinished(prompt)
    return []


def _declared(tools: Any) -> _Tools:
    """Tools as names, or as the objects of a request to any of the APIs."""
    match tools:
        case None:
            return _Tools()
        case str():
            return _Tools(_names(tools))
        case [*several]:
            return sum(map(_tool, several), _Tools())
    return _tool(tools)


def _tool(tool: Any) -> _Tools:
    match tool:
        case str(name) | {"function": {"name": str(name)}}:
            return _Tools((name,))
        case {"custom": {"name": str(name)}} | {"type": "custom", "name": str(name)}:
            return _Tools((name,), (name,))
        case {"name": str(name)}:
            return _Tools((name,))
        case {"type": str()}:
            return _Tools()  # Another server's own, which has no name to be called by.
    raise UnreadableLine("a tool of `tools` has no name")


def _names(tools: str) -> tuple[str, ...]:
    return tuple(name for part in tools.split(",") if (name := part.strip()))


def _segment(segment: Any) -> Segment:
    """`["special", "<|call|>"]`, or an object: `type` or `kind` and `text`; `special` alone, or true beside `text`."""
    match segment:
        case ["special" | "text" as kind, str(text)]:
            return kind, text
        case {"type": "special" | "text" as kind, "text": str(text)} | {
            "kind": "special" | "text" as kind,
            "text": str(text),
        }:
            return kind, text
        case {"special": True, "text": str(text)} | {"special": str(text)}:
            return "special", text
        case {"text": str(text)}:
            return "text", text
    raise UnreadableLine("a segment is neither special nor text")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="llm-server explain",
        description="Say what recorded model output means. Each line is a JSON object with `raw` (text in which markers"
        " stand for special tokens), `segments` (pairs of special or text, and the text) or `tokens` (ids), all from"
        " the first token after `<|start|>assistant`, and perhaps `tools`, the names that the request declared, and"
        " `stop`, its stop strings.",
    )
    parser.add_argument("file", metavar="FILE", help="JSON lines, or - for standard input")
    parser.add_argument("--tools", default="", metavar="A,B", help="tools that every line declares")
    parser.add_argument("--events", action="store_true", help="print the events instead of what they add up to")
    return parser
