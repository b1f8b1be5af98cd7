"""Counters, gauges and histograms that a process fills from what others have counted, and their two text formats.

Three things keep this from being prometheus_client's own instruments: histograms take in whole tallies at once, every
child of a label with known values exists at 0 from the start, and a gauge's children can vanish. The formats are
written by prometheus_client. Knows no metric by name.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import inf
from typing import Final, TypeAlias

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.samples import Exemplar

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

Labels: TypeAlias = Mapping[str, Sequence[str]]
"""A family's label names with the values that are known beforehand; none for a label whose values turn up later."""


class _Family:
    """What a metric of any type has: a name, a line of help, and label names."""

    kind = ""

    def __init__(self, name: str, help_text: str, labels: Labels | None = None) -> None:
        self.name = name
        self._help = help_text
        self._labels = tuple(labels or ())
        self._known = list(product(*(labels or {}).values()))

    def collect(self) -> Metric:
        """The family as it is now."""
        metric = Metric(self.name, self._help, self.kind)
        self._fill(metric)
        return metric

    def _fill(self, metric: Metric) -> None:
        raise NotImplementedError

    def _named(self, values: tuple[str, ...]) -> dict[str, str]:
        return dict(zip(self._labels, values, strict=True))


class Counter(_Family):
    """Only ever grows. `name` is without `_total`, which samples get."""

    kind = "counter"

    def __init__(self, name: str, help_text: str, labels: Labels | None = None) -> None:
        super().__init__(name, help_text, labels)
        self._values = dict.fromkeys(self._known, 0.0)

    def add(self, *values: str, by: float = 1.0) -> None:
        self._values[values] = self._values.get(values, 0.0) + by

    def expect(self, *values: str) -> None:
        """Show this child from now on, at 0 if nothing was counted."""
        self._values.setdefault(values, 0.0)

    def _fill(self, metric: Metric) -> None:
        for values, count in self._values.items():
            metric.add_sample(f"{self.name}_total", self._named(values), count)


class Gauge(_Family):
    """A value now. Children appear when they are set and vanish with `clear`."""

    kind = "gauge"

    def __init__(self, name: str, help_text: str, labels: Labels | None = None) -> None:
        super().__init__(name, help_text, labels)
        self._values: dict[tuple[str, ...], float] = {}

    def set(self, *values: str, to: float) -> None:
        self._values[values] = to

    def clear(self) -> None:
        self._values.clear()

    def _fill(self, metric: Metric) -> None:
        for values, value in self._values.items():
            metric.add_sample(self.name, self._named(values), value)


@dataclass(slots=True)
class Tally:
    """Observations by bucket of some edges (`edges[i - 1] < value <= edges[i]`, the last one beyond all), to be sent.

    `largest` is the greatest observation since the tally was taken, or since the start.
    """

    edges: Sequence[float]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0
    largest: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.edges) + 1)

    def __bool__(self) -> bool:
        return any(self.counts)

    def observe(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.edges, value)] += times
        self.total += value * times
        self.largest = max(self.largest, value)

    def take(self) -> Tally:
        """What was observed since the last time; this tally begins anew."""
        taken = Tally(self.edges, self.counts, self.total, self.largest)
        self.counts, self.total, self.largest = [0] * (len(self.edges) + 1), 0.0, 0.0
        return taken


@dataclass(slots=True)
class _Child:
    counts: list[int]
    total: float = 0.0
    exemplars: dict[int, Exemplar] = field(default_factory=dict)


class Histogram(_Family):
    """Observations by bucket. `edges` are upper bounds, ascending, without infinity."""

    kind = "histogram"

    def __init__(self, name: str, help_text: str, edges: Sequence[float], labels: Labels | None = None) -> None:
        super().__init__(name, help_text, labels)
        self.edges = tuple(edges)
        self._bounds = [_bound(edge) for edge in (*edges, inf)]
        self._children: dict[tuple[str, ...], _Child] = {}
        for values in self._known:
            self.expect(*values)

    def expect(self, *values: str) -> None:
        """Show this child from now on, empty if nothing was observed."""
        self._child(values)

    def observe(self, *values: str, value: float, trace_id: str = "") -> None:
        """One observation. `trace_id` makes it its bucket's exemplar."""
        child, bucket = self._child(values), bisect_left(self.edges, value)
        child.counts[bucket] += 1
        child.total += value
        self._exemplify(child, value, trace_id)

    def merge(
        self, *values: str, counts: Sequence[int], total: float, largest: float = 0.0, trace_id: str = ""
    ) -> None:
        """Observations that were counted elsewhere by the same edges. A tally of other edges is ignored."""
        child = self._child(values)
        if len(counts) == len(child.counts):
            child.counts = [ours + theirs for ours, theirs in zip(child.counts, counts, strict=True)]
            child.total += total
            self._exemplify(child, largest, trace_id)

    def _child(self, values: tuple[str, ...]) -> _Child:
        return self._children.setdefault(values, _Child([0] * (len(self.edges) + 1)))

    def _exemplify(self, child: _Child, value: float, trace_id: str) -> None:
        if trace_id:
            bucket = bisect_left(self.edges, value)
            child.exemplars[bucket] = Exemplar({"trace_id": trace_id}, value, round(time.time(), 3))

    def _fill(self, metric: Metric) -> None:
        for values, child in self._children.items():
            labels = self._named(values)
            cumulative = 0
            for bucket, count in enumerate(child.counts):
                cumulative += count
                bound = {**labels, "le": self._bounds[bucket]}
                exemplar = child.exemplars.get(bucket)
                metric.add_sample(f"{self.name}_bucket", bound, cumulative, exemplar=exemplar)
            metric.add_sample(f"{self.name}_count", labels, cumulative)
            metric.add_sample(f"{self.name}_sum", labels, child.total)


def _bound(edge: float) -> str:
    return "+Inf" if edge == inf else repr(float(edge))


Instrument: TypeAlias = Counter | Gauge | Histogram


class _Snapshot(CollectorRegistry):
    """What the exposition functions read. Nothing is registered with it."""

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        super().__init__()
        self._instruments = tuple(instruments)

    def collect(self) -> Iterator[Metric]:
        collected = (instrument.collect() for instrument in self._instruments)
        return (metric for metric in collected if metric.samples)


def exposition(instruments: Iterable[Instrument], content_type: str) -> bytes:
    """The instruments' values as `TEXT` or `OPENMETRICS`.

    Every name here is valid in the oldest format. The library's escaping would write `vllm:x` as `vllm_x`
    (prometheus/client_python#1177), so none is asked for, whatever the scraper negotiates.
    """
    snapshot = _Snapshot(instruments)
    if content_type == OPENMETRICS:
        text: bytes = openmetrics.generate_latest(snapshot, escaping=openmetrics.ALLOWUTF8)  # type: ignore[no-untyped-call]
        return text
    return generate_latest(snapshot, escaping=openmetrics.ALLOWUTF8)


def negotiated(accept: str) -> str:
    """The content type for an `Accept` header: the one of greatest weight, text when in doubt."""
    weights = {TEXT: 0.0, OPENMETRICS: 0.0}
    for part in accept.lower().split(","):
        media_type, *parameters = (word.strip() for word in part.split(";"))
        offered = {"text/plain": TEXT, "application/openmetrics-text": OPENMETRICS}.get(media_type)
        if offered:
            weights[offered] = max(weights[offered], _weight(parameters))
    return OPENMETRICS if weights[OPENMETRICS] > weights[TEXT] else TEXT


def _weight(parameters: Iterable[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
