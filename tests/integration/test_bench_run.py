"""The bench as its user starts it, with every system for real, on the embedded model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llm_server.bench import main
from llm_server.bench.load import JSON, TEXT, UNGUARDED
from llm_server.bench.systems import BARE, OURS, THEIRS


def test_every_system_reads_and_writes_as_many_tokens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "below" / "bench.json"
    assert main(["--model", "tiny", "--streams", "2", "--tokens", "4", "--repeats", "1", "--json", str(file)]) == 0
    (row,) = json.loads(file.read_text())["rows"]
    assert list(row["systems"]) == [BARE, OURS, THEIRS]
    assert {system["tokens"] for system in row["systems"].values()} == {8}
    assert len({system["prompt_tokens"] for system in row["systems"].values()}) == 1
    assert all(speed > 0 for speed in row["guard"]["tokens_per_second"].values())
    assert row["guard"]["ratios"].keys() == {TEXT, JSON}
    printed = capsys.readouterr().out
    assert "mlx_lm.server" in printed
    assert UNGUARDED in printed
