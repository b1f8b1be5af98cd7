"""Model output, well-formed and not, with what it means: one stream per line of the `.jsonl` files beside this one.

`raw` is what follows the prompt's `<|start|>assistant`, its `<|…|>` markers standing for their tokens; `segments` says
instead which parts hold markers ("special") and which only look as if ("text"). A stream may lack its last token.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

Segment: TypeAlias = tuple[Literal["special", "text"], str]


@dataclass(frozen=True, slots=True)
class Meaning:
    """What the user gets: visible text, whole calls (name, arguments as text), and how the answer finished."""

    content: str
    calls: tuple[tuple[str, str], ...]
    finish: str
    undeclared: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Recorded:
    name: str
    segments: tuple[Segment, ...]
    tools: tuple[str, ...]
    meaning: Meaning


def load() -> list[Recorded]:
    """All recorded streams, named `file/name`."""
    return [stream for path in sorted(Path(__file__).parent.glob("*.jsonl")) for stream in _read(path)]


def _read(path: Path) -> Iterator[Recorded]:
    for line in path.read_text(encoding="utf-8").splitlines():
        row: dict[str, Any] = json.loads(line)
        segments: tuple[Segment, ...] = tuple((kind, text) for kind, text in row.get("segments", ()))
        meaning = Meaning(
            row["content"] or "",
            tuple((call["name"], call["arguments"]) for call in row["calls"]),
            row["finish"],
            tuple(row.get("undeclared", ())),
        )
        yield Recorded(
            f"{path.stem}/{row['name']}", segments or (("special", row["raw"]),), tuple(row["tools"]), meaning
        )
