"""Writes the boards as JSON files that Grafana reads at its start, into the folder that is given or `../dashboards`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from boards.clients import clients
from boards.engine import engine
from boards.overview import overview
from boards.traces import traces

FOLDER: Final = Path(__file__).parents[1] / "dashboards"
BOARDS: Final = {"overview": overview, "engine": engine, "clients": clients, "traces": traces}


def as_json(board: dashboard.Dashboard) -> str:
    """A board as Grafana's JSON, the same for the same sources."""
    return json.dumps(board.build(), cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    for name, board in BOARDS.items():
        (folder / f"{name}.json").write_text(as_json(board()), encoding="utf-8")


if __name__ == "__main__":
    main()
