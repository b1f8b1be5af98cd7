"""What the model may say next: the Harmony protocol of one request as a grammar for llguidance (Lark).

Headers can only be legal ones, recipients only declared tools, arguments only what the tool's schema allows; the words
of analysis, of a preamble and of an answer stay free. Text in, text out: nothing here computes a mask or decodes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from llguidance import LLMatcher

from llm_server.conversation import GenerationRequest, Tool
from llm_server.errors import BadRequest

MAX_SCHEMA_BYTES: Final = 64 * 1024
MAX_SCHEMA_DEPTH: Final = 32

HEADERS: Final = 14
"""Tokens of what stands around analysis and answer, and a few words of the answer. With less, there is no analysis."""

_SPACE: Final = "( |\\n {0,24})?"
"""Between JSON's tokens: nothing, a blank, or a line break with indentation. More of it is a loop, not formatting."""

_LARGEST_INTEGER: Final = 2**53 - 1
"""What every JSON reader takes exactly (RFC 8259, section 6); a longer run of digits is a loop, too."""


def turn_grammar(request: GenerationRequest) -> str:
    """The grammar of the assistant's turn, from the first token after `<|start|>assistant`.

    `(analysis)? (preamble (analysis)?)? (final | call+)`, where each message ends with its own terminator. A call that
    ends with `<|end|>` may be followed by another one; `<|call|>` ends the turn.

    Raises:
        BadRequest: a schema is too large, too deep, or uses a keyword that can not be enforced.
    """
    grammar = "\n".join(_rules(request))
    if fault := _fault(grammar):
        raise BadRequest(f"A schema can not be enforced: {fault}.")
    return grammar


def _rules(request: GenerationRequest) -> Iterator[str]:
    callable_tools = _callable(request)
    yield "%llguidance {}"
    budget = _budget(request)
    yield f"start: {'' if budget == 0 else 'thought? '}{_turn(request, bool(callable_tools))}"
    yield from _thoughts(budget)
    yield 'preamble: <|channel|> "commentary" <|message|> TEXT <|end|> <|start|> "assistant"'
    yield f'final: <|channel|> "final" <|message|> {_answer(request)} <|return|>'
    if callable_tools:
        yield from _calls(callable_tools, request.tool_choice.parallel)
    yield "TEXT: /(?s:.*)/"


def _turn(request: GenerationRequest, may_call: bool) -> str:
    if not may_call:
        return "final"
    ending = "calls" if request.tool_choice.mode == "required" else "(final | calls)"
    return f"(preamble afterthought?)? {ending}"


def _callable(request: GenerationRequest) -> list[Tool]:
    choice = request.tool_choice
    if choice.mode == "none":
        return []
    return [tool for tool in request.conversation.tools if choice.names is None or tool.name in choice.names]


def _budget(request: GenerationRequest) -> int | None:
    """Tokens of analysis. A quarter of a limited answer, and its headers, are kept for what the caller is to see."""
    limit = request.max_tokens
    limits = [] if limit is None else [max(0, min(limit * 3 // 4, limit - HEADERS))]
    limits += [] if request.reasoning_budget is None else [request.reasoning_budget]
    return min(limits, default=None)


def _thoughts(budget: int | None) -> Iterator[str]:
    """Analysis before everything else, and some more of it after a preamble."""
    for name, share in (("thought", 1.0), ("afterthought", 0.25)):
        limit = "" if budget is None else f"[max_tokens={max(1, int(budget * share))}]"
        yield f'{name}: <|channel|> "analysis" <|message|> {name}_text <|end|> <|start|> "assistant"'
        yield f"{name}_text{limit}: TEXT"


def _answer(request: GenerationRequest) -> str:
    return "TEXT" if request.answer_schema is None else _json(request.answer_schema, strict=True)


def _calls(tools: list[Tool], parallel: bool) -> Iterator[str]:
    names = [f"call_{number}" for number, _ in enumerate(tools)]
    another = f' (<|end|> <|start|> "assistant" ({" | ".join(names)}))*' if parallel else ""
    yield f"calls: ({' | '.join(names)}){another} <|call|>"
    for name, tool in zip(names, tools, strict=True):
        channel = "COMMENTARY" if tool.freeform else "(COMMENTARY | ANALYSIS)"
        yield f"{name}: <|channel|> {channel} {_body(tool)}"
    yield 'COMMENTARY: "commentary"'
    yield 'ANALYSIS: "analysis"'


def _body(tool: Tool) -> str:
    """Recipient, content type and arguments. The model likes to write a call on the analysis channel, too; there,
    plain text could be a thought as well."""
    recipient = f" to=functions.{tool.name}"
    match tool.freeform:
        case None:
            schema = {"type": "object"} if tool.parameters is None else tool.parameters
            return f'{_literal(recipient + " ")} <|constrain|> "json" <|message|> {_json(schema, tool.strict)}'
        case freeform if freeform.syntax == "regex":
            return f"{_literal(recipient)} <|message|> /{freeform.definition.replace('/', chr(92) + '/')}/"
        case freeform if freeform.syntax == "lark":
            return f"{_literal(recipient)} <|message|> %lark {{\n{freeform.definition}\n}}"
    return f"{_literal(recipient)} <|message|> TEXT"


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _json(schema: Mapping[str, Any], strict: bool) -> str:
    text = json.dumps(schema)
    if len(text) > MAX_SCHEMA_BYTES:
        raise BadRequest(f"A JSON schema is longer than {MAX_SCHEMA_BYTES} bytes.")
    options = {"whitespace_flexible": True, "whitespace_pattern": _SPACE, "lenient": not strict}
    return "%json " + json.dumps({**_bounded(schema, MAX_SCHEMA_DEPTH), "x-guidance": options})


def _bounded(schema: Any, depth: int) -> Any:
    """The same schema with integers that end."""
    if depth == 0:
        raise BadRequest(f"A JSON schema is nested deeper than {MAX_SCHEMA_DEPTH} levels.")
    match schema:
        case {"type": "integer"}:
            limits = {"minimum": -_LARGEST_INTEGER, "maximum": _LARGEST_INTEGER}
            given = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "enum", "const"} & schema.keys()
            return schema if given else {**schema, **limits}
        case dict():
            return {key: _bounded(value, depth - 1) for key, value in schema.items()}
        case list():
            return [_bounded(value, depth - 1) for value in schema]
    return schema


@lru_cache(maxsize=256)
def _fault(grammar: str) -> str:
    """The library's reason to refuse it, without the lines it quotes, which hold the caller's own text."""
    message = LLMatcher.validate_grammar(LLMatcher.grammar_from_lark(grammar))
    return message and (message.splitlines()[0].partition(": ")[2] or "it is not valid")
