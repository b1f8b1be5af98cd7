"""Counters, gauges and histograms that a process fills from what others have counted, and their two text formats.

Four things keep this from being prometheus_client's own instruments: histograms take in whole tallies at once, every
child of a label with known values exists at 0 from the start, a gauge's children can vanish, and what of a line stays
the same is written once, since somebody reads all of them every few seconds. Knows no metric by name.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, product
from math import inf
from typing import Final, TypeAlias

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

Labels: TypeAlias = Mapping[str, Sequence[str]]
"""A family's label names with the values that are known beforehand; none for a label whose values turn up later."""


class _Family:
    """What a metric of any type has: a name, a line of help, and label names."""

    kind = ""
    suffix = ""
    """Of its samples. OpenMetrics speaks of the family without it, the older format with it."""

    def __init__(self, name: str, help_text: str, labels: Labels | None = None) -> None:
        self.name = name
        self._help = help_text
        self._labels = tuple(labels or ())
        self._known = list(product(*(labels or {}).values()))

    def lines(self, *, with_openmetrics: bool) -> Iterator[str]:
        """The family as it is now; nothing if it has no children."""
        samples = list(self._samples(with_openmetrics))
        if samples:
            name = self.name if with_openmetrics else self.name + self.suffix
            yield f"# HELP {name} {_escaped(self._help, quotes=with_openmetrics)}"
            yield f"# TYPE {name} {self.kind}"
        yield from samples

    def _samples(self, with_exemplars: bool) -> Iterator[str]:
        raise NotImplementedError

    def _named(self, suffix: str, values: Sequence[str], **more: str) -> str:
        """A sample's name and labels, and the space before its value."""
        labels = {**dict(zip(self._labels, values, strict=True)), **more}
        pairs = ",".join(f'{name}="{_escaped(value, quotes=True)}"' for name, value in sorted(labels.items()))
        return f"{self.name}{suffix}{{{pairs}}} " if pairs else f"{self.name}{suffix} "


class Counter(_Family):
    """Only ever grows. `name` is without `_total`, which samples get."""

    kind = "counter"
    suffix = "_total"

    def __init__(self, name: str, help_text: str, labels: Labels | None = None) -> None:
        super().__init__(name, help_text, labels)
        self._values = dict.fromkeys(self._known, 0.0)
        self._names: dict[tuple[str, ...], str] = {}

    def add(self, *values: str, by: float = 1.0) -> None:
        self._values[values] = self._values.get(values, 0.0) + by

    def expect(self, *values: str) -> None:
        """Show this child from now on, at 0 if nothing was counted."""
        self._values.setdefault(values, 0.0)

    def _samples(self, with_exemplars: bool) -> Iterator[str]:  # noqa: ARG002
        for values, count in self._values.items():
            name = self._names.get(values) or self._names.setdefault(values, self._named(self.suffix, values))
            yield f"{name}{count!r}"


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

    def _samples(self, with_exemplars: bool) -> Iterator[str]:  # noqa: ARG002
        for values, value in self._values.items():
            yield f"{self._named('', values)}{float(value)!r}"


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
    """`buckets` are the names of its samples, one for each count; `exemplars` end lines of OpenMetrics."""

    buckets: list[str]
    count: str
    sum: str
    counts: list[int]
    total: float = 0.0
    exemplars: dict[int, str] = field(default_factory=dict)


class Histogram(_Family):
    """Observations by bucket. `edges` are upper bounds, ascending, without infinity."""

    kind = "histogram"

    def __init__(self, name: str, help_text: str, edges: Sequence[float], labels: Labels | None = None) -> None:
        super().__init__(name, help_text, labels)
        self.edges = tuple(edges)
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
        return self._children.get(values) or self._children.setdefault(values, self._new_child(values))

    def _new_child(self, values: tuple[str, ...]) -> _Child:
        buckets = [self._named("_bucket", values, le=_bound(edge)) for edge in (*self.edges, inf)]
        return _Child(buckets, self._named("_count", values), self._named("_sum", values), [0] * len(buckets))

    def _exemplify(self, child: _Child, value: float, trace_id: str) -> None:
        if trace_id:
            labels = f'{{trace_id="{_escaped(trace_id, quotes=True)}"}}'
            child.exemplars[bisect_left(self.edges, value)] = f" # {labels} {value!r} {time.time():.3f}"

    def _samples(self, with_exemplars: bool) -> Iterator[str]:
        for child in self._children.values():
            exemplars = child.exemplars if with_exemplars else {}
            for bucket, (name, count) in enumerate(zip(child.buckets, accumulate(child.counts), strict=True)):
                yield f"{name}{count}.0{exemplars.get(bucket, '')}"
            yield f"{child.count}{sum(child.counts)}.0"
            yield f"{child.sum}{child.total!r}"


def _bound(edge: float) -> str:
    return "+Inf" if edge == inf else repr(float(edge))


def _escaped(text: str, *, quotes: bool) -> str:
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    return text.replace('"', r"\"") if quotes else text


Instrument: TypeAlias = Counter | Gauge | Histogram


def exposition(instruments: Iterable[Instrument], content_type: str) -> bytes:
    """The instruments' values as `TEXT` or `OPENMETRICS`.

    Every name is valid in the oldest format and is written as it is, whatever escaping the scraper negotiates: what
    knows `vllm:x` does not know `vllm_x` (prometheus/client_python#1177).
    """
    with_openmetrics = content_type == OPENMETRICS
    lines = [line for instrument in instruments for line in instrument.lines(with_openmetrics=with_openmetrics)]
    return "".join(f"{line}\n" for line in [*lines, *(["# EOF"] if with_openmetrics else [])]).encode()


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
