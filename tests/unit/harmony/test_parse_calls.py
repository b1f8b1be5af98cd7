"""A call in every shape that its header was seen in, after whatever came before it, however it ends."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest

from llm_server.harmony.recorded import encode_segments, parse_tokens

SHAPES = (
    "<|channel|>commentary to=functions.{} <|constrain|>json<|message|>",
    "<|channel|>commentary to=functions.{}<|constrain|>json<|message|>",
    "<|channel|>commentary to=functions.{} json<|message|>",
    "<|channel|>commentary to=functions.{}<|message|>",
    "<|channel|>analysis to=functions.{} code<|message|>",
    "<|channel|>analysis to=functions.{}<|message|>",
    "<|channel|>final to=functions.{} <|constrain|>json<|message|>",
    " to=functions.{}<|channel|>commentary <|constrain|>json<|message|>",
    " to=functions.{}<|channel|>commentary json<|message|>",
    " to=functions.{}<|channel|>analysis<|message|>",
    "<|channel|>commentary to={} <|constrain|>json<|message|>",
    "<|channel|>analysis to={} code<|message|>",
    "<|channel|>commentary to= functions.{}<|message|>",
    "<|channel|>commentary to=function.{} <|constrain|>json<|message|>",
    "<|channel|>commentary to=functions.{}\n<|constrain|>json\n<|message|>",
    "<|channel|>commentary <|constrain|>json to=functions.{}<|message|>",
    "<|channel|>commentary to=functions.{} <|constrain|>json",
    "<|channel|>commentary to=functions.{} ",
    "<|channel|>commentary to=assistant<|channel|>commentary to=functions.{} <|constrain|>json<|message|>",
    "<|channel|>commentary to=functions.{}<|channel|>commentary <|constrain|>json<|message|>",
    "<|channel|>commentary<|message|> to=functions.{} <|constrain|>json<|message|>",
    "<|channel|>commentary<|message|>to=functions.{} json<|message|>",
    " to=functions.{}<|start|>commentary<|channel|>commentary <|constrain|>json<|message|>",
    "<|channel|>commentary to=functions.{} <|start|>json<|message|>",
    "<|channel|>commentary to=functions.{} <|constrain|>json<|end|><|message|>",
    "commentary to=functions.{} json<|message|>",
    "assistant<|channel|>commentary to=functions.{} <|constrain|>json<|message|>",
    "<|channel|>commentary to=functions.{}json<|message|>",
    "<|channel|>commentary functions.{} <|constrain|>json<|message|>",
    '<|channel|>commentary to="functions.{}" <|constrain|>json<|message|>',
    "<|channel|>Commentary to=functions.{} <|constrain|>json<|message|>",
    "<|channel|>commentary to=functions.{} <|constrain|>json <|message|><|message|>",
    "<|channel|>commentary? to=functions.{} <|constrain|>json<|message|>",
    "<|channel|> to=functions.{} <|constrain|>json<|message|>",
)
BEFORE = (
    "",
    "<|channel|>analysis<|message|>They want a zebra.<|end|><|start|>assistant",
    "<|channel|>analysis<|message|>They want a zebra.<|end|>",
    "<|channel|>commentary<|message|>I look.<|end|><|start|>assistant",
    "They want a zebra.<|end|><|start|>assistant",
)
ANSWER = "<|end|><|start|>assistant<|channel|>final<|message|>Done.<|return|>"
ENDS = ("<|call|>", "<|end|>", "<|return|>", "<|endoftext|>", "", ANSWER)
NAMES = ("plant", "mcp__fs__read-text.file", "run_json", "final_answer", "python")


@pytest.mark.parametrize("shape", SHAPES)
def test_a_declared_tool_is_called_and_nothing_else_is_said(shape: str) -> None:
    for name, raw in streams(shape, '{"tree": {"kind": "}"}}'):
        recording = parse_tokens(encode_segments([("special", raw)]), (name, "other"))
        calls = [(block.tool_name, block.text) for block in recording.blocks if block.kind == "tool_call"]
        said = [block.text for block in recording.blocks if block.kind == "text"]
        assert calls == [(name, '{"tree": {"kind": "}"}}')], raw
        assert said in ([], ["I look."]), raw
        assert recording.finish_reason == "tool_calls", raw


@pytest.mark.parametrize("body", ['{"tree": "zebra"}', '{"tree": "zebra', "zebra grass"])
@pytest.mark.parametrize("shape", SHAPES)
def test_an_undeclared_tool_is_neither_called_nor_shown(shape: str, body: str) -> None:
    for _, raw in streams(shape, body):
        recording = parse_tokens(encode_segments([("special", raw)]), ("other",))
        said = [block.text for block in recording.blocks if block.kind == "text"]
        assert not any(block.kind == "tool_call" for block in recording.blocks), raw
        assert said in ([], ["I look."], ["Done."], ["I look.", "Done."]), raw


def streams(shape: str, body: str) -> Iterator[tuple[str, str]]:
    """The name of the called tool, and the stream."""
    for name, before, end in product(NAMES, BEFORE, ENDS):
        yield name, before + shape.format(name) + body + end


@pytest.mark.parametrize("level", ['{"calls":[%s]}', '{"function":%s}', "[%s]", '{"name":"plant","arguments":%s}'])
def test_calls_within_calls_without_end_raise_nothing(level: str) -> None:
    before, after = level.split("%s")
    for levels in (3, 1_100, 3_000):
        body = before * levels + "{}" + after * levels
        raw = f"<|channel|>commentary to=tool.run <|constrain|>json<|message|>{body}<|call|>"
        parse_tokens(encode_segments([("special", raw)]), ("plant",))
