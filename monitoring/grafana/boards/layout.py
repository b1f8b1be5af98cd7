"""What all boards have in common: variables, links to each other, annotations, time range. Knows no panel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard

from boards.panels import PROMETHEUS

TAG: Final = "llm-server"
PanelBuilder: TypeAlias = Builder[dashboard.Panel]

_RESTARTS: Final = 'sum by (instance, reason) (increase(llm_server_engine_restarts_total{job=~"$job"}[1m])) > 0'
_ALERTS: Final = 'sum by (alertname, instance, severity) (ALERTS{alertstate="firing"}) > 0'


def board(uid: str, title: str, description: str) -> builders.Dashboard:
    """An empty board for a laptop's screen. Panels are placed from left to right, as they fit."""
    return (
        builders.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .readonly()
        .refresh("5s")
        .time("now-15m", "now")
        .timezone("browser")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .variables(_variables())
        .links([_other_boards()])
        .annotations([_annotation("Engine restarts", _RESTARTS, "red", "Restart: {{reason}}")])
        .annotation(_annotation("Alerts", _ALERTS, "orange", "{{alertname}} {{instance}}"))
    )


def fill(built: builders.Dashboard, panels: Iterable[PanelBuilder]) -> None:
    for panel in panels:
        built.with_panel(panel)


def row(built: builders.Dashboard, title: str, panels: Iterable[PanelBuilder]) -> None:
    """A titled row of panels below all that is there."""
    built.with_row(builders.Row(title))
    fill(built, panels)


def _variables() -> list[Builder[dashboard.VariableModel]]:
    return [
        builders.DatasourceVariable("datasource").label("Data source").type("prometheus"),
        _label_values("job", "Job", "label_values(llm_server_build_info, job)"),
        _label_values("instance", "Server", 'label_values(llm_server_build_info{job=~"$job"}, instance)'),
        _label_values(
            "model", "Model", 'label_values(vllm:num_requests_running{job=~"$job",instance=~"$instance"}, model_name)'
        ),
    ]


def _label_values(name: str, label: str, query: str) -> builders.QueryVariable:
    """A choice of several values, at first all of them; they are looked up again when the time range changes."""
    return (
        builders.QueryVariable(name)
        .label(label)
        .datasource(PROMETHEUS)
        .query({"query": query, "refId": f"variable-{name}"})
        .definition(query)
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(dashboard.VariableOption(selected=True, text="All", value="$__all"))
    )


def _other_boards() -> builders.DashboardLink:
    return (
        builders.DashboardLink("Boards")
        .type(dashboard.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(False)
        .keep_time(True)
        .include_vars(True)
    )


def _annotation(name: str, expression: str, color: str, title: str) -> builders.AnnotationQuery:
    return (
        builders.AnnotationQuery()
        .name(name)
        .datasource(PROMETHEUS)
        .enable(True)
        .icon_color(color)
        .expr(expression)
        .step("15s")
        .title_format(title)
    )
