"""The panels that the boards are made of: each has a title, a description, a unit and queries, and nothing by chance.

Knows Grafana's schema through its Foundation SDK, and no metric.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Final, TypeAlias

from grafana_foundation_sdk.builders import (
    common as common_builders,
)
from grafana_foundation_sdk.builders import (
    dashboard as dashboard_builders,
)
from grafana_foundation_sdk.builders import (
    heatmap,
    prometheus,
    stat,
    timeseries,
)
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models import heatmap as heatmap_models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

Queries: TypeAlias = Mapping[str, str]
"""PromQL by the name that the legend gives it. `{{label}}` in a name stands for each series' label."""

Threshold: TypeAlias = tuple[float, str]

PROMETHEUS: Final = common.DataSourceRef(type_val="prometheus", uid="${datasource}")

GREEN, YELLOW, ORANGE, RED, BLUE, PURPLE, GREY = "green", "yellow", "orange", "red", "blue", "purple", "#8e8e8e"


def query(expression: str, legend: str = "", *, ref_id: str = "A", exemplars: bool = False) -> prometheus.Dataquery:
    """One query over the whole time range."""
    built = prometheus.Dataquery().expr(expression).legend_format(legend or "__auto").ref_id(ref_id).range()
    return built.exemplar(True) if exemplars else built


def thresholds(steps: Sequence[Threshold], base: str = GREEN) -> dashboard_builders.ThresholdsConfig:
    """`base` holds below the first step. A step's colour holds from its value on."""
    all_steps = [dashboard.Threshold(value=None, color=base)]
    all_steps += [dashboard.Threshold(value=value, color=color) for value, color in steps]
    return dashboard_builders.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(all_steps)


def number(
    title: str,
    description: str,
    expression: str,
    unit: str,
    *,
    steps: Sequence[Threshold] = (),
    base: str = GREEN,
    decimals: int | None = None,
    idle: str = "none",
    link: str = "",
) -> stat.Panel:
    """A figure as large as its panel, with the line of its past behind it. `idle` is shown where there is no value."""
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .with_target(query(expression, title))
        .unit(unit)
        .thresholds(thresholds(steps, base))
        .color_scheme(dashboard_builders.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
        .color_mode(common.BigValueColorMode.VALUE)
        .graph_mode(common.BigValueGraphMode.AREA)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
        .no_value(idle)
        .height(4)
        .span(3)
    )
    if decimals is not None:
        panel.decimals(decimals)
    if link:
        panel.links([dashboard_builders.DashboardLink("Details").url(link).keep_time(True).include_vars(True)])
    return panel


def state(title: str, description: str, expression: str, colors: Mapping[str, str], *, idle: str) -> stat.Panel:
    """Which of several states holds now: the name of each series of `expression`, on its colour."""
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .with_target(prometheus.Dataquery().expr(expression).legend_format("{{state}}").ref_id("A").instant())
        .color_mode(common.BigValueColorMode.BACKGROUND_SOLID)
        .graph_mode(common.BigValueGraphMode.NONE)
        .text_mode(common.BigValueTextMode.NAME)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
        .thresholds(thresholds([]))
        .no_value(idle)
        .height(4)
        .span(3)
    )
    for name, color in colors.items():
        panel.override_by_name(name, [_fixed_color(color)])
    return panel


def lines(
    title: str,
    description: str,
    queries: Queries,
    unit: str,
    *,
    stacked: bool = False,
    limit: float | None = None,
    colors: Mapping[str, str] | None = None,
    exemplars: str = "",
    at_least: float | None = None,
    maximum: float | None = None,
) -> timeseries.Panel:
    """Lines over time; lines that are not stacked have their last values in the legend.

    `limit` draws the objective as a dashed red line. The axis reaches to `at_least` also when all is zero, and never
    beyond `maximum`. `exemplars` names the query whose exemplars are drawn: points that link to one request's trace.
    """
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .unit(unit)
        .min(0)
        # A line around a stacked series of zeros would have the color of the whole.
        .line_width(0 if stacked else 2)
        .fill_opacity(70 if stacked else 8)
        .show_points(common.VisibilityMode.NEVER)
        .legend(_legend([] if stacked else ["lastNotNull"]))
        .tooltip(
            common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
        )
        .thresholds(thresholds([] if limit is None else [(limit, RED)], "transparent"))
        .height(8)
        .span(8)
    )
    for ref_id, (legend, expression) in zip(ascii_uppercase, queries.items(), strict=False):
        panel.with_target(query(expression, legend, ref_id=ref_id, exemplars=legend == exemplars))
    for name, color in (colors or {}).items():
        panel.override_by_name(name, [_fixed_color(color)])
    if stacked:
        panel.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    if limit is not None:
        panel.thresholds_style(
            common_builders.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        )
        panel.axis_soft_max(limit * 1.1)
    if at_least is not None:
        panel.axis_soft_max(at_least)
    if maximum is not None:
        panel.max(maximum)
    return panel


def heat(title: str, description: str, expression: str, unit: str, *, exemplars: bool = False) -> heatmap.Panel:
    """A histogram over time: the darker, the more. `expression` yields the increase of each bucket, by `le`."""
    target = query(expression, "{{le}}", exemplars=exemplars).format(PromQueryFormat.HEATMAP)
    return (
        heatmap.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .with_target(target)
        .calculate(False)
        .cell_gap(1)
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heatmap_models.HeatmapColorMode.SCHEME)
            .scheme("Oranges")
            .steps(64)
            .reverse(False)
        )
        .y_axis(heatmap.YAxisConfig().unit(unit).axis_placement(common.AxisPlacement.LEFT))
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .tooltip(heatmap.HeatmapTooltip().mode(common.TooltipDisplayMode.SINGLE).y_histogram(True))
        .show_legend()
        .height(8)
        .span(8)
    )


def _legend(figures: Sequence[str]) -> common_builders.VizLegendOptions:
    return (
        common_builders.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs(list(figures))
    )


def _fixed_color(color: str) -> dashboard.DynamicConfigValue:
    return dashboard.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": color})
