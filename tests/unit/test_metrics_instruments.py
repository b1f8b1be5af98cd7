"""Instruments, judged by the parsers of those who read them."""

from __future__ import annotations

import pytest

from exposed_metrics import Exposed
from llm_server.observability import buckets
from llm_server.observability.instruments import (
    OPENMETRICS,
    TEXT,
    Counter,
    Gauge,
    Histogram,
    Instrument,
    Tally,
    exposition,
    negotiated,
)

VLLM_FIRST_TOKEN = "0.001 0.005 0.01 0.02 0.04 0.06 0.08 0.1 0.25 0.5 0.75 1 2.5 5 7.5 10 20 40 80 160 640 2560"
VLLM_TOKEN_GAP = "0.01 0.025 0.05 0.075 0.1 0.15 0.2 0.3 0.4 0.5 0.75 1 2.5 5 7.5 10 20 40 80"
VLLM_REQUEST = "0.3 0.5 0.8 1 1.5 2 2.5 5 10 15 20 30 40 50 60 120 240 480 960 1920 7680"
OPENTELEMETRY_REQUEST = "0.01 0.02 0.04 0.08 0.16 0.32 0.64 1.28 2.56 5.12 10.24 20.48 40.96 81.92"
TRACE = "0af7651916cd43dd8448eb211c80319c"


def text(*instruments: Instrument) -> Exposed:
    return Exposed(exposition(instruments, TEXT).decode())


def openmetrics(*instruments: Instrument) -> Exposed:
    return Exposed(exposition(instruments, OPENMETRICS).decode(), openmetrics=True)


def test_a_counter_has_its_known_children_from_the_start_and_others_when_they_come() -> None:
    counter = Counter("vllm:request_success", "Help.", {"model_name": ["m"], "finished_reason": ["stop", "length"]})
    counter.add("m", "stop")
    counter.add("m", "odd", by=2)
    for read in (text(counter), openmetrics(counter)):
        values = {
            sample.labels["finished_reason"]: sample.value for sample in read.samples("vllm:request_success_total")
        }
        assert values == {"stop": 1, "length": 0, "odd": 2}


def test_a_counter_without_labels_is_there_from_the_start() -> None:
    assert text(Counter("a", "Help.")).value("a_total") == 0


def test_what_is_not_set_is_not_shown() -> None:
    gauge = Gauge("level", "Help.", {"kind": ()})
    assert exposition([gauge], TEXT) == b""
    gauge.set("a", to=1)
    assert text(gauge).value("level", kind="a") == 1
    gauge.clear()
    assert exposition([gauge], TEXT) == b""


@pytest.mark.parametrize(("value", "bucket"), [(0.5, "1.0"), (1.0, "1.0"), (1.5, "2.0"), (9.0, "+Inf")])
def test_a_value_on_an_edge_is_below_it(value: float, bucket: str) -> None:
    histogram = Histogram("h", "Help.", (1.0, 2.0))
    histogram.observe(value=value)
    counts = {sample.labels["le"]: sample.value for sample in text(histogram).samples("h_bucket")}
    assert min((edge for edge, count in counts.items() if count), key=float) == bucket
    assert counts["+Inf"] == text(histogram).value("h_count") == 1
    assert text(histogram).value("h_sum") == value


def test_a_tally_counts_as_the_histogram_does() -> None:
    values = (0.0, 0.002, 0.0021, 0.5, 79.0, 80.0, 81.0)
    tally, one_by_one, at_once = Tally(buckets.TOKEN_GAP), *(Histogram("h", "Help.", buckets.TOKEN_GAP) for _ in "ab")
    for value in values:
        tally.observe(value)
        one_by_one.observe(value=value)
    taken = tally.take()
    at_once.merge(counts=taken.counts, total=taken.total)
    assert text(at_once).counters() == text(one_by_one).counters()
    assert (taken.largest, bool(taken), bool(tally)) == (81.0, True, False)


def test_a_tally_of_other_edges_spoils_nothing() -> None:
    histogram = Histogram("h", "Help.", (1.0, 2.0))
    histogram.merge(counts=[1, 2], total=3)
    assert text(histogram).value("h_count") == 0


def test_an_exemplar_stands_at_its_bucket_and_only_where_the_format_has_them() -> None:
    histogram = Histogram("vllm:h", "Help.", (1.0, 2.0), {"model_name": ["m"]})
    histogram.observe("m", value=0.5)
    histogram.observe("m", value=1.5, trace_id=TRACE)
    exemplars = {sample.labels["le"]: sample.exemplar for sample in openmetrics(histogram).samples("vllm:h_bucket")}
    assert exemplars["1.0"] is None
    assert exemplars["2.0"] is not None
    assert (exemplars["2.0"].labels, exemplars["2.0"].value) == ({"trace_id": TRACE}, 1.5)
    assert TRACE not in text(histogram).text


def test_help_and_label_values_are_escaped() -> None:
    counter = Counter("a", 'A "quoted"\nline with a \\.', {"b": ['"', "\n", "\\"]})
    for read in (text(counter), openmetrics(counter)):
        assert {sample.labels["b"] for sample in read.samples("a_total")} == {'"', "\n", "\\"}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (buckets.FIRST_TOKEN, VLLM_FIRST_TOKEN),
        (buckets.TOKEN_GAP, VLLM_TOKEN_GAP),
        (buckets.REQUEST, VLLM_REQUEST),
        (buckets.PHASE, VLLM_REQUEST),
        (buckets.SEMANTIC_REQUEST, OPENTELEMETRY_REQUEST),
    ],
)
def test_others_edges_are_among_ours(ours: tuple[float, ...], theirs: str) -> None:
    assert {float(edge) for edge in theirs.split()} <= set(ours)


def test_edges_ascend() -> None:
    for name, edges in vars(buckets).items():
        if name.isupper() and isinstance(edges, tuple):
            assert list(edges) == sorted(set(edges)), name


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/html", TEXT),
        ("application/openmetrics-text", OPENMETRICS),
        ("text/plain;q=0.5,application/openmetrics-text;q=0.4", TEXT),
        ("application/openmetrics-text;q=nonsense", TEXT),
        ("APPLICATION/OpenMetrics-Text ; version=0.0.1 ; q=1", OPENMETRICS),
    ],
)
def test_the_format_is_the_one_that_the_scraper_prefers(accept: str, content_type: str) -> None:
    assert negotiated(accept) == content_type


def test_the_openmetrics_text_has_its_end() -> None:
    assert exposition([Counter("a", "Help.")], OPENMETRICS).endswith(b"# EOF\n")
