"""`llm-server explain`: every form of a recording, and nothing of the analysis in what it prints."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fakes import tool_call
from llm_server.explain import explain, main

RAW = (
    "<|channel|>analysis<|message|>zebra<|end|><|start|>assistant<|channel|>commentary to=functions.get_weather "
    '<|constrain|>json<|message|>{"city": "Oslo"}<|call|>'
)
CALL = [{"name": "get_weather", "arguments": '{"city": "Oslo"}'}]


def explained(*records: Any, tools: tuple[str, ...] = ("get_weather",), events: bool = False) -> list[dict[str, Any]]:
    output = io.StringIO()
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    explain(lines, output, tools, show_events=events)
    return [json.loads(line) for line in output.getvalue().splitlines()]


@pytest.mark.parametrize(
    "record",
    [
        {"raw": RAW},
        {"segments": [["special", RAW]]},
        {"segments": [{"type": "special", "text": RAW}]},
        {"tokens": tool_call("get_weather", '{"city": "Oslo"}', analysis="zebra")},
        {"raw": RAW, "truncated": False},
    ],
)
def test_every_form_of_a_recording_means_the_same(record: dict[str, Any]) -> None:
    [found] = explained(record)
    assert found["tool_calls"] == CALL
    assert found["content"] is None
    assert found["finish_reason"] == "tool_calls"
    assert found["repairs"] == []
    assert found["channels"]["analysis"] > 0
    assert "zebra" not in json.dumps(found)


@pytest.mark.parametrize(
    "tools",
    [["get_weather"], [{"name": "get_weather"}], [{"type": "function", "function": {"name": "get_weather"}}]],
)
def test_tools_are_the_lines_own_or_the_options(tools: list[Any]) -> None:
    [found] = explained({"raw": RAW, "tools": tools}, tools=())
    assert found["tool_calls"] == CALL
    [undeclared] = explained({"raw": RAW}, tools=())
    assert undeclared["tool_calls"] == []
    assert undeclared["undeclared_calls"] == ["functions.get_weather"]


def test_a_marker_in_a_text_segment_is_text() -> None:
    segments = [["special", "<|channel|>final<|message|>"], ["text", "Write <|call|>."], ["special", "<|return|>"]]
    [found] = explained({"segments": segments})
    assert found["content"] == "Write <|call|>."


def test_events_are_one_line_each() -> None:
    kinds = [event["event"] for event in explained({"raw": RAW}, events=True)]
    assert kinds[0] == "BlockStart"
    assert kinds[-1] == "Finish"


@pytest.mark.parametrize("line", ["nonsense", "[]", "{}", '{"raw": 1}', '{"tokens": [1, "a"]}', '{"segments": [1]}'])
def test_a_line_that_is_no_recording_says_so_and_the_next_is_read(line: str) -> None:
    refused, found = explained(line, {"raw": RAW})
    assert refused["error"]
    assert found["tool_calls"] == CALL


def test_the_command_reads_standard_input_and_files(tmp_path: Path) -> None:
    (tmp_path / "recorded.jsonl").write_text(json.dumps({"raw": RAW}) + "\n\n")
    command = [sys.executable, "-m", "llm_server", "explain", "--tools", "other,get_weather"]
    piped = subprocess.run([*command, "-"], input=json.dumps({"raw": RAW}), capture_output=True, text=True, check=True)
    read = subprocess.run([*command, str(tmp_path / "recorded.jsonl")], capture_output=True, text=True, check=True)
    assert piped.stdout == read.stdout
    assert json.loads(read.stdout)["tool_calls"] == CALL
    assert main([str(tmp_path / "missing")]) == 2
