"""The page behind a point of a latency graph: one request's trace, and the slowest turns around it.

A dashboard rather than Explore, which anonymous viewers may not open.
"""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import tempo
from grafana_foundation_sdk.models import common, dashboard

from boards.layout import TAG

UID: Final = "llm-server-traces"
TEMPO: Final = common.DataSourceRef(type_val="tempo", uid="tempo")


def traces() -> builders.Dashboard:
    return (
        builders.Dashboard("Traces")
        .uid(UID)
        .description("One request, from arrival to last token. The server needs OTEL_EXPORTER_OTLP_ENDPOINT for it.")
        .tags([TAG])
        .readonly()
        .time("now-1h", "now")
        .timezone("browser")
        .variables([builders.TextBoxVariable("trace").label("Trace").default_value("")])
        .links([_other_boards()])
        .with_panel(_slowest())
        .with_panel(_trace())
    )


def _slowest() -> builders.Panel:
    """The trace id links to the panel below."""
    link = {"title": "Show below", "url": f"/d/{UID}?var-trace=${{__value.raw}}&${{__url_time_range}}"}
    query = '{ resource.service.name = "llm-server" && name =~ "chat .*" } | select(span.gen_ai.usage.input_tokens, '
    query += "span.gen_ai.usage.output_tokens, span.error.type)"
    return (
        builders.Panel()
        .type("table")
        .title("Turns")
        .description("Traces of model requests in the time range. Sort by duration; an id shows its trace below.")
        .datasource(TEMPO)
        .with_target(tempo.Dataquery().query_type("traceql").query(query).limit(50).ref_id("A"))
        .override_by_name("traceID", [dashboard.DynamicConfigValue("links", [link])])
        .height(8)
        .span(24)
    )


def _trace() -> builders.Panel:
    return (
        builders.Panel()
        .type("traces")
        .title("Trace")
        .description("The spans of the chosen request: queue, prefill and decode, with token counts and no content.")
        .datasource(TEMPO)
        .with_target(tempo.Dataquery().query_type("traceql").query("$trace").ref_id("A"))
        .height(14)
        .span(24)
    )


def _other_boards() -> builders.DashboardLink:
    return (
        builders.DashboardLink("Boards")
        .type(dashboard.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(False)
        .keep_time(True)
    )
