"""What a server exposes, read with Prometheus' own parsers."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families
from prometheus_client.samples import Sample

OPENMETRICS_ACCEPT = "application/openmetrics-text;version=1.0.0"


class Exposed:
    """One scrape. `openmetrics` says in which format it was."""

    def __init__(self, text: str, *, openmetrics: bool = False) -> None:
        self.text = text
        parse = openmetrics_families if openmetrics else text_families
        self.families: list[Metric] = list(parse(text))

    @classmethod
    def of(cls, response: httpx2.Response) -> Exposed:
        assert response.status_code == 200, response.text
        return cls(response.text, openmetrics="openmetrics" in response.headers["content-type"])

    def samples(self, name: str, **labels: str) -> Iterator[Sample]:
        for family in self.families:
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    yield sample

    def __contains__(self, name: str) -> bool:
        return any(True for _ in self.samples(name))

    def value(self, name: str, **labels: str) -> float:
        """The sum of all samples of this name that have these labels; there must be one."""
        values = [sample.value for sample in self.samples(name, **labels)]
        assert values, f"no {name} with {labels}"
        return sum(values)

    def counters(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Everything that may only grow, histograms' counts among it."""
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in self.families
            if family.type in ("counter", "histogram")
            for sample in family.samples
        }


def exposed(base_url: str, **headers: str) -> Exposed:
    return Exposed.of(httpx2.get(base_url + "/metrics", headers=headers, timeout=30))
