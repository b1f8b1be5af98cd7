"""The queries of the boards as Prometheus is asked them: variables filled in as Grafana fills them in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
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
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(Path(FOLDER).glob("*.json"))}


def panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All panels but rows, those inside of collapsed rows included."""
    for panel in board["panels"]:
        yield from panels(panel) if panel["type"] == "row" and panel.get("panels") else ()
        if panel["type"] != "row":
            yield panel


def queries() -> Iterator[PanelQuery]:
    """Every query to Prometheus of every panel and annotation."""
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


def without_data(prometheus: str) -> list[PanelQuery]:
    """The queries that yield nothing, less those that can not on this system."""
    return [query for query in queries() if query.panel not in MACOS_ONLY and not ask(prometheus, query.expression)]
