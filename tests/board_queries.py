"""The queries of the boards as Prometheus is asked them: variables filled in as Grafana fills them in."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import httpx2

from boards.__main__ import FOLDER

VARIABLES: Final = {
    "$__rate_interval": "30s",
    "$__interval": "15s",
    "$job": ".*",
    "$instance": ".*",
    "$model": ".*",
}

MACOS_ONLY: Final = frozenset({"macOS: heat and memory pressure"})
"""Panels that stay empty on other systems."""


@dataclass(frozen=True, slots=True)
class PanelQuery:
    """`legend` tells the queries of one panel apart."""

    board: str
    panel: str
    legend: str
    expression: str


def committed_boards() -> dict[str, dict[str, Any]]:
    """The boards by the name of their file."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}


def panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All panels but rows."""
    return (panel for panel in board["panels"] if panel["type"] != "row")


def queries() -> Iterator[PanelQuery]:
    """Every query to Prometheus of every panel."""
    for name, board in committed_boards().items():
        for panel in panels(board):
            for target in panel["targets"]:
                if "expr" in target:
                    yield PanelQuery(name, panel["title"], target.get("legendFormat", ""), filled(target["expr"]))


def filled(expression: str) -> str:
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    return expression


def ask(prometheus: str, expression: str) -> list[dict[str, Any]]:
    """The series that a query yields now.

    Raises:
        AssertionError: Prometheus does not understand it.
    """
    answer = httpx2.get(f"{prometheus}/api/v1/query", params={"query": expression}, timeout=30).json()
    assert answer["status"] == "success", (expression, answer)
    return list(answer["data"]["result"])


def unanswered(prometheus: str, *, seconds: float) -> list[PanelQuery]:
    """The queries that yielded nothing in all this time. Those of macOS are asked, and may yield nothing.

    Some graphs are empty while the server is busy and others while it is not, so each needs to have data only once.
    """
    left = list(queries())
    assert len(left) > 50
    deadline = time.monotonic() + seconds
    while True:
        left = [query for query in left if not ask(prometheus, query.expression)]
        expected = [query for query in left if query.panel not in MACOS_ONLY]
        if not expected or time.monotonic() > deadline:
            return expected
        time.sleep(1)
