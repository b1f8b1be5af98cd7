"""The rules: promtool reads them, fires each alert and keeps it silent, and each one says what to do."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from llm_server.observability import buckets

MONITORING: Final = Path(__file__).parents[2] / "monitoring"
PROMETHEUS: Final = MONITORING / "prometheus"
TESTS: Final = sorted((PROMETHEUS / "tests").glob("*.yml"))

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: `apt install prometheus`)"
)


def alerts() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "rules" / "alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def promtool(*arguments: str | Path, folder: Path = PROMETHEUS) -> None:
    done = subprocess.run(["promtool", *map(str, arguments)], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_prometheus_reads_the_rules() -> None:
    promtool("check", "rules", *sorted((PROMETHEUS / "rules").glob("*.yml")))


@needs_promtool
def test_prometheus_reads_the_configuration(tmp_path: Path) -> None:
    """With the rules beside it and the key in a file, as in the container."""
    key = tmp_path / "key"
    key.write_text("none")
    shutil.copytree(PROMETHEUS / "rules", tmp_path / "rules")
    text = (PROMETHEUS / "prometheus.yml").read_text().replace("/run/secrets/llm_api_key", str(key))
    (tmp_path / "prometheus.yml").write_text(text)
    promtool("check", "config", "prometheus.yml", folder=tmp_path)


@needs_promtool
@pytest.mark.parametrize("path", TESTS, ids=[path.stem for path in TESTS])
def test_each_alert_fires_and_does_not_fire(path: Path) -> None:
    promtool("test", "rules", path.name, folder=path.parent)


def test_no_alert_goes_without_a_test_of_either_kind() -> None:
    expected: dict[str, set[bool]] = {}
    for path in TESTS:
        for test in yaml.safe_load(path.read_text())["tests"]:
            for case in test["alert_rule_test"]:
                expected.setdefault(case["alertname"], set()).add(bool(case["exp_alerts"]))
    assert expected == {name: {True, False} for name in alerts()}


def test_each_alert_says_what_it_is_and_what_to_do() -> None:
    runbook = (MONITORING / "README.md").read_text()
    for name, rule in alerts().items():
        assert rule["labels"]["severity"] in ("page", "ticket"), name
        assert set(rule["annotations"]) == {"summary", "description"}, name
        assert f"| `{name}` |" in runbook, name
    documented = set(re.findall(r"^\| `([A-Z]\w+)` \|", runbook, re.MULTILINE))
    assert documented == set(alerts())


@pytest.mark.parametrize(
    ("histogram", "edges"),
    [
        ("vllm:time_to_first_token_seconds", buckets.FIRST_TOKEN),
        ("vllm:inter_token_latency_seconds", buckets.TOKEN_GAP),
    ],
)
def test_objectives_lie_on_edges_of_buckets(histogram: str, edges: tuple[float, ...]) -> None:
    """Else Prometheus would find no such bucket, and every answer would be late."""
    text = (PROMETHEUS / "rules" / "recording.yml").read_text()
    limits = re.findall(histogram + r'_bucket\{le="([\d.]+)"\}', text)
    assert limits
    assert set(map(float, limits)) <= set(edges)


def test_alerts_on_quantiles_compare_with_edges() -> None:
    """A quantile is exact only at an edge."""
    compared = {"SlowCancellation": buckets.CANCEL, "EventLoopBlocked": buckets.LAG, "QueueLong": buckets.PHASE}
    for name, edges in compared.items():
        limit = float(alerts()[name]["expr"].rpartition(">")[2])
        assert limit in edges, name
