"""The forms of PromQL that the boards repeat. Knows the boards' variables and no metric."""

from __future__ import annotations

from typing import Final

SERVER: Final = 'job=~"$job",instance=~"$instance"'
MODEL: Final = SERVER + ',model_name=~"$model"'

_WINDOW: Final = "[$__rate_interval]"


def series(metric: str, selector: str = SERVER) -> str:
    return f"{metric}{{{selector}}}"


def rate(metric: str, selector: str = SERVER, *, by: str = "") -> str:
    """Events per second, summed over servers."""
    return f"sum{_by(by)}(rate({series(metric, selector)}{_WINDOW}))"


def quantile(fraction: float, metric: str, selector: str = SERVER, *, by: str = "") -> str:
    """A quantile of a histogram; nothing, rather than NaN, where nothing was measured."""
    groups = "le, " + by if by else "le"
    return f"histogram_quantile({fraction:g}, {rate(metric + '_bucket', selector, by=groups)}) >= 0"


def mean(metric: str, selector: str = SERVER, *, by: str = "") -> str:
    """The mean of a histogram or summary over the window, and not since the start."""
    return f"{rate(metric + '_sum', selector, by=by)} / ({rate(metric + '_count', selector, by=by)} > 0)"


def ratio(part: str, whole: str) -> str:
    return f"{part} / ({whole} > 0)"


def buckets(metric: str, selector: str = SERVER) -> str:
    """How many values fell into each bucket, for a heatmap."""
    return f"sum by (le) (increase({series(metric + '_bucket', selector)}{_WINDOW}))"


def used(metric: str, selector: str, *, by: str) -> str:
    """Events per second by label, less the values of it that have never been counted."""
    counted = f"sum by ({by}) ({series(metric, selector)}) > 0"
    return f"{rate(metric, selector, by=by)} and on ({by}) ({counted})"


def _by(labels: str) -> str:
    return f" by ({labels}) " if labels else ""
