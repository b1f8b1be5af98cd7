"""`llm-server explain`: every form of a recording, and nothing of the analysis in what it prints."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fakes import tool_call
from llm_server.explain import explain, main
from llm_server.harmony.recorded import encode_segments

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
    [
        ["get_weather"],
        "other, get_weather",
        {"name": "get_weather"},
        [{"type": "web_search"}, {"name": "get_weather", "input_schema": {}}],
        [{"type": "function", "name": "get_weather"}],
        [{"type": "function", "function": {"name": "get_weather"}}],
    ],
)
def test_tools_are_the_lines_own_or_the_options(tools: Any) -> None:
    [found] = explained({"raw": RAW, "tools": tools}, tools=())
    assert found["tool_calls"] == CALL
    [undeclared] = explained({"raw": RAW}, tools=())
    assert undeclared["tool_calls"] == []
    assert undeclared["undeclared_calls"] == ["functions.get_weather"]


@pytest.mark.parametrize(
    "tool", [{"type": "custom", "name": "patch"}, {"type": "custom", "custom": {"name": "patch"}}], ids=["flat", "deep"]
)
def test_what_a_tool_of_plain_text_takes_is_left_as_it_is(tool: dict[str, Any]) -> None:
    raw = '<|channel|>commentary to=functions.patch<|message|>{"a": 1} and more <|call|>'
    [found] = explained({"raw": raw, "tools": [tool]})
    assert found["tool_calls"] == [{"name": "patch", "arguments": '{"a": 1} and more '}]


@pytest.mark.parametrize(
    ("special", "text"),
    [
        (["special", "{}"], ["text", "{}"]),
        ({"special": "{}"}, {"text": "{}"}),
        ({"type": "special", "text": "{}"}, {"type": "text", "text": "{}"}),
        ({"kind": "special", "text": "{}"}, {"kind": "text", "text": "{}"}),
        ({"text": "{}", "special": True}, {"text": "{}", "special": False}),
    ],
)
def test_a_marker_in_a_text_segment_is_text(special: Any, text: Any) -> None:
    segments = [
        json.loads(json.dumps(form).replace("{}", content))
        for form, content in (
            (special, "<|channel|>final<|message|>"),
            (text, "Write <|call|>."),
            (special, "<|return|>"),
        )
    ]
    [found] = explained({"segments": segments})
    assert found["content"] == "Write <|call|>."


@pytest.mark.parametrize("name", ["<|reserved_200013|>", "<|endofprompt|>", "<|startoftext|>"])
def test_every_special_token_of_raw_text_is_one_token(name: str) -> None:
    [found] = explained({"raw": f"<|channel|>final<|message|>El{name}m.<|return|>"})
    assert found["content"] == "Elm."
    assert [repair["kind"] for repair in found["repairs"]] == ["stray_token"]


@pytest.mark.parametrize(
    ("stop", "content"),
    [
        ("END", "Elm. "),
        (["oak", "END"], "Elm. "),
        (["zebra"], "Elm. END Oak."),
        ([], "Elm. END Oak."),
        ("Elm", None),
        (None, "Elm. END Oak."),
    ],
)
def test_a_stop_string_ends_the_answer_and_nothing_but_the_answer(stop: Any, content: str | None) -> None:
    raw = "<|channel|>analysis<|message|>zebra END<|end|><|start|>assistant<|channel|>final<|message|>Elm. END Oak."
    [found] = explained({"raw": raw, "stop": stop})
    assert (found["content"], found["finish_reason"]) == (content, "stop")
    events = explained({"raw": raw, "stop": stop}, events=True)
    assert events[-1]["stop_sequence"] == (None if content == "Elm. END Oak." else "Elm" if content is None else "END")


def test_output_that_goes_on_within_an_unframed_prompt_is_read_from_there() -> None:
    prompt = encode_segments([("special", "<|start|>assistant<|channel|>analysis<|message|>The")])
    tokens = encode_segments([("special", " zebra<|end|><|start|>assistant<|channel|>final<|message|>Elm.<|return|>")])
    [found] = explained({"prompt": prompt, "tokens": tokens, "unframed": True})
    assert found["content"] == "Elm."
    assert found["channels"]["analysis"] == 2


def test_events_are_one_line_each() -> None:
    kinds = [event["event"] for event in explained({"raw": RAW}, events=True)]
    assert kinds[0] == "BlockStart"
    assert kinds[-1] == "Finish"


@pytest.mark.parametrize(
    "line",
    [
        "zebra",
        "[]",
        "{}",
        '{"raw": 1, "zebra": 2}',
        '{"tokens": [1, "zebra"]}',
        '{"tokens": [1, 2.0]}',
        '{"tokens": [true]}',
        f'{{"tokens": [{"9" * 10_000}]}}',
        '{"segments": [1]}',
        '{"segments": [["zebra", "x"]]}',
        '{"raw": "zebra", "tools": [1]}',
        '{"raw": "zebra", "truncated": "yes"}',
        '{"raw": "zebra", "stop": 1}',
        "[" * 200_000,
        '{"raw": "zebra \udcff"}',
    ],
    ids=lambda line: line[:20],
)
def test_a_line_that_is_no_recording_says_so_and_the_next_is_read(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, refused, found = explained({"raw": RAW}, "", line, {"raw": RAW})
    assert refused["error"]
    assert refused["line"] == 3
    assert found["tool_calls"] == CALL
    assert capsys.readouterr().err == f"llm-server: line 3: {refused['error']}\n"
    assert "zebra" not in json.dumps(refused)


def test_numbers_that_are_no_tokens_are_strays() -> None:
    tokens = [10**30, -5, *encode_segments([("special", "<|channel|>final<|message|>Elm.<|return|>")])]
    [found] = explained({"tokens": tokens})
    assert found["content"] == "Elm."
    assert found["repairs"] == [{"kind": "stray_token", "position": position} for position in (0, 1)]


def test_the_command_reads_standard_input_and_files(tmp_path: Path) -> None:
    (tmp_path / "recorded.jsonl").write_text(json.dumps({"raw": RAW}) + "\n\n")
    command = [sys.executable, "-m", "llm_server", "explain", "--tools", "other,get_weather"]
    piped = subprocess.run([*command, "-"], input=json.dumps({"raw": RAW}), capture_output=True, text=True, check=True)
    read = subprocess.run([*command, str(tmp_path / "recorded.jsonl")], capture_output=True, text=True, check=True)
    assert piped.stdout == read.stdout
    assert json.loads(read.stdout)["tool_calls"] == CALL


def test_a_file_that_can_not_be_read_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        assert main([str(path)]) == 2
        assert capsys.readouterr().err.startswith(f"llm-server: {path}: ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_output_that_can_not_be_written_is_told_of_as_such() -> None:
    command = [sys.executable, "-m", "llm_server", "explain", "-"]
    with open("/dev/full", "w") as full:
        run = subprocess.run(command, input=json.dumps({"raw": RAW}), stdout=full, stderr=subprocess.PIPE, text=True)
    assert run.returncode == 2
    assert run.stderr == "llm-server: standard output: No space left on device\n"


def test_an_interrupted_command_ends_quietly() -> None:
    command = [sys.executable, "-m", "llm_server", "explain", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"raw": RAW}).encode() + b"\n")
        process.stdin.flush()
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.communicate() == (b"", b"")
    assert process.returncode == 130


def test_any_bytes_are_read_and_any_characters_are_printed() -> None:
    lines = [b"\xef\xbb\xbf" + json.dumps({"raw": RAW}).encode() + b"\r", b'{"raw": "zebra \xff"}', b""]
    lines.append(rb'{"raw": "<|channel|>commentary to=functions.a\ud800b<|message|>{}<|call|>", "tools": ["a\ud800b"]}')
    lines.append('{"raw": "<|channel|>final<|message|>Grüße 🌳"}'.encode())
    command = [sys.executable, "-m", "llm_server", "explain", "--tools", "get_weather", "-"]
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    run = subprocess.run(command, input=b"\n".join(lines), capture_output=True, env=environment, check=False)
    first, refused, odd, last = (json.loads(line) for line in run.stdout.splitlines())
    assert first["tool_calls"] == CALL
    assert refused == {"error": "not UTF-8", "line": 2}
    assert odd["tool_calls"] == [{"name": "a\ud800b", "arguments": "{}"}]
    assert last["content"] == "Grüße 🌳"
    assert run.stderr == b"llm-server: line 2: not UTF-8\n"
    assert run.returncode == 1


def test_nothing_to_read_is_nothing_wrong() -> None:
    assert explained() == []


def test_a_reader_that_has_seen_enough_ends_it_quietly(tmp_path: Path) -> None:
    (tmp_path / "recorded.jsonl").write_text((json.dumps({"raw": RAW}) + "\n") * 2_000)
    command = [sys.executable, "-m", "llm_server", "explain", str(tmp_path / "recorded.jsonl")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1
