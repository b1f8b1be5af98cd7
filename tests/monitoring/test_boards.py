"""The boards: what is committed is what the sources build, Grafana accepts it, and it asks for metrics that exist."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest

import llm_server
from board_queries import committed_boards, panels, queries
from boards.__main__ import BOARDS, FOLDER, as_json
from llm_server.observability.metrics import Metrics

SCHEMA: Final = json.loads((Path(__file__).parent / "grafana_board.schema.json").read_text())
METRIC: Final = re.compile(r"\b((?:vllm|slo|model):[a-z_:0-9]+|llm_server_[a-z_0-9]+|ALERTS|up)\b(?=[{\[)\s,]|$)")
RULES: Final = Path(__file__).parents[2] / "monitoring" / "prometheus" / "rules"
SERVICE: Final = Path(llm_server.__file__).parent
NAMES: Final = sorted(BOARDS)


@pytest.fixture(scope="module")
def boards() -> dict[str, dict[str, Any]]:
    return committed_boards()


def known_names() -> set[str]:
    """Metrics as samples are named: what the server exposes from the start, what its sources define for later, and
    what Prometheus and the recording rules add."""
    text = Metrics("gpt-oss-test", "supervisor").exposition("text/plain").decode()
    exposed = set(re.findall(r"^([a-z_:0-9]+)[{ ]", text, re.MULTILINE))
    sources = "".join(path.read_text() for path in (SERVICE / "observability").glob("*.py"))
    defined = set(re.findall(r'"((?:vllm:|llm_server_)[a-z_0-9]+)"', sources))
    suffixes = ("", "_total", "_bucket", "_sum", "_count")
    recorded = set(re.findall(r"record: (\S+)", (RULES / "recording.yml").read_text()))
    return {name + suffix for name in defined for suffix in suffixes} | exposed | recorded | {"ALERTS", "up"}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_committed_is_what_the_sources_build(name: str) -> None:
    """`make dashboards` writes it anew."""
    assert (FOLDER / f"{name}.json").read_text(encoding="utf-8") == as_json(BOARDS[name]())


def test_nothing_else_is_committed() -> None:
    assert sorted(path.stem for path in FOLDER.iterdir()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_grafana_s_schema_accepts_it(boards: dict[str, dict[str, Any]], name: str) -> None:
    jsonschema.validate(boards[name], SCHEMA)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("refresh",), 5),
        (("panels", 1, "options", "colorMode"), "rainbow"),
        (("panels", 8, "fieldConfig", "defaults", "custom", "lineWidth"), "thick"),
        (("panels", 1, "surprise"), True),
        (("panels", 1, "type"), "pie"),
        (("panels", 8, "targets", 0, "expr"), None),
    ],
)
def test_the_schema_would_notice(boards: dict[str, dict[str, Any]], path: tuple[str | int, ...], value: object) -> None:
    board = copy.deepcopy(boards["overview"])
    place: Any = board
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(board, SCHEMA)


@pytest.mark.parametrize("name", NAMES)
def test_every_panel_explains_itself(boards: dict[str, dict[str, Any]], name: str) -> None:
    for panel in panels(boards[name]):
        assert panel["title"], panel
        assert len(panel["description"]) > 20, panel["title"]
        if panel["type"] in ("stat", "timeseries") and panel.get("options", {}).get("textMode") != "name":
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        if panel["type"] == "heatmap":
            assert panel["options"]["yAxis"]["unit"], panel["title"]


@pytest.mark.parametrize("name", NAMES)
def test_panels_lie_side_by_side_on_the_screen(boards: dict[str, dict[str, Any]], name: str) -> None:
    """24 columns; no cell is taken twice."""
    taken: set[tuple[int, int]] = set()
    for panel in boards[name]["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert max(x for x, _ in cells) < 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells


def test_boards_link_to_each_other_and_have_their_own_addresses(boards: dict[str, dict[str, Any]]) -> None:
    assert len({board["uid"] for board in boards.values()}) == len(boards)
    for board in boards.values():
        assert board["tags"] == board["links"][0]["tags"] == ["llm-server"]


def test_no_data_source_is_hard_coded(boards: dict[str, dict[str, Any]]) -> None:
    """Traces have one place, and no variable for it."""
    uids = {panel["datasource"]["uid"] for name in NAMES for panel in panels(boards[name])}
    assert uids == {"${datasource}", "tempo"}


def test_latency_graphs_show_requests_that_link_to_their_traces(boards: dict[str, dict[str, Any]]) -> None:
    exemplars = [
        panel["title"]
        for panel in panels(boards["overview"])
        if any(target.get("exemplar") for target in panel["targets"])
    ]
    assert {"Time to first token", "Time between tokens", "Times to first token"} <= set(exemplars)
    provisioned = FOLDER.parent / "provisioning" / "datasources" / "datasources.yml"
    assert f"/d/{boards['traces']['uid']}?var-trace=" in provisioned.read_text()


@pytest.mark.parametrize("source", ["boards", "recording.yml", "alerts.yml"])
def test_only_metrics_that_exist_are_asked_for(source: str) -> None:
    if source == "boards":
        text = "\n".join(query.expression for query in queries())
    else:
        text = "\n".join(line for line in (RULES / source).read_text().splitlines() if "#" not in line)
    asked = set(METRIC.findall(text))
    assert len(asked) > 10
    assert not asked - known_names()
