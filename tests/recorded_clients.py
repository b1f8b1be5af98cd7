"""Requests that real clients have sent, one file for each sequence in `recordings/clients/`.

Their texts were replaced by filler of the same length, which is written as `lorem:LENGTH` there; keys and structure
are as they were.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("recordings") / "clients"

_FILLER = (
    "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore et dolore"
    " magna aliqua "
)
_FRAME = ("model", "instructions", "response_format", "output_config", "text")
_SET_BY_TRANSPORT = {"host", "content-length", "connection", "accept-encoding"}


@dataclass(frozen=True, slots=True)
class Sent:
    """One request. `body` is None if there was none."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: Any

    @property
    def url(self) -> str:
        return f"{self.path}?{self.query}" if self.query else self.path


@dataclass(frozen=True, slots=True)
class Recording:
    """What one client sent, in order. `client` is its name and version."""

    name: str
    client: str
    requests: tuple[Sent, ...]

    def to(self, *paths: str) -> list[Sent]:
        return [sent for sent in self.requests if sent.path in paths]


def recordings() -> list[Recording]:
    return [_read(path) for path in sorted(FOLDER.glob("*.json"))]


def follow_ups(requests: list[Sent]) -> Iterator[tuple[int, int]]:
    """Pairs of places: the second request goes on from the messages of the first, and is the first that does."""
    for later, sent in enumerate(requests):
        for earlier in range(later - 1, -1, -1):
            if _goes_on(requests[earlier], sent):
                yield earlier, later
                break


def _goes_on(first: Sent, second: Sent) -> bool:
    before, after = _said(first.body), _said(second.body)
    same = all(first.body.get(key) == second.body.get(key) for key in _FRAME)
    same = same and bool(first.body.get("tools")) == bool(second.body.get("tools"))
    return same and len(before) < len(after) and after[: len(before)] == before


def _said(body: dict[str, Any]) -> Any:
    match body.get("messages") or body["input"]:
        case str(text):
            return _plain([{"role": "user", "content": text}])
        case messages:
            return _plain(messages)


def _plain(value: Any) -> Any:
    """Messages without what changes from one request to the next and says nothing."""
    match value:
        case {"content": str(text), **rest}:
            return _plain({**rest, "content": [{"type": "text", "text": text}]})
        case dict():
            return {key: _plain(each) for key, each in value.items() if key != "cache_control"}
        case list():
            return [_plain(each) for each in value]
    return value


def _read(path: Path) -> Recording:
    row = json.loads(path.read_text(encoding="utf-8"))
    return Recording(path.stem, row["client"], tuple(_sent(each) for each in row["requests"]))


def _sent(row: dict[str, Any]) -> Sent:
    headers = {name: value for name, value in row["headers"].items() if name.lower() not in _SET_BY_TRANSPORT}
    return Sent(row["method"], row["path"], row["query"], headers, _filled(row["body"]))


def _filled(value: Any) -> Any:
    match value:
        case str() if value.startswith("lorem:"):
            length = int(value.partition(":")[2])
            return (_FILLER * (length // len(_FILLER) + 1))[:length]
        case dict():
            return {key: _filled(each) for key, each in value.items()}
        case list():
            return [_filled(each) for each in value]
    return value
