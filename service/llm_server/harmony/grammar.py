"""What the model may say next: the Harmony protocol of one request as a grammar for llguidance (Lark).

Headers can only be legal ones, recipients only declared tools, arguments only what the tool's schema allows; the words
of analysis, of a preamble and of an answer stay free. Text in, text out: nothing here computes a mask or decodes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import Any, Final

from llguidance import LLMatcher

from llm_server.conversation import GenerationRequest, Tool
from llm_server.errors import BadRequest, ToolRefused
from llm_server.harmony.faults import TOO_COMPLEX, KnownFaults, reason
from llm_server.harmony.schemas import closed, json_rule, names_only, telling_keywords, weakened

HEADERS: Final = 14
"""Tokens of what stands around analysis and answer, and a few words of the answer. With less, there is no analysis."""

SHORT_CALL: Final = 32
"""Tokens of a short call: the recipient, the content type, and a few arguments. Kept for one that must come."""

SHORTEST_PREAMBLE, LONGEST_PREAMBLE = 16, 256
"""Tokens of what is said before a call that must come. With less room, nothing is."""

MOST_SCHEMAS: Final = 250
"""Schemas and grammars of tools that may differ from each other in one turn. The library tells 255 apart."""

MOST_COUNTED_CALLS: Final = 128
"""Calls in one turn that are counted. A caller who allows more allows any number."""

_SLASHES: Final = re.compile(r"\\.|/", re.DOTALL)
"""What ends a regular expression in Lark, and the escapes among which one may be."""

_TEXT: Final = "TEXT"
_ANY_OBJECT: Final = json_rule({"type": "object"}, strict=False)
_NO_INPUT: Final = {"type": "object", "additionalProperties": False}
_KNOWN: Final = KnownFaults(256)
_NO_FAULTS: Final[Mapping[str, str]] = MappingProxyType({})


def rules_to_try(request: GenerationRequest) -> list[str]:
    """The rules that the caller had a say in: any of them may be too much for the grammar library.

    Raises:
        BadRequest: a schema is too large or too deep.
    """
    rules = [rule for tool in request.callable_tools for rule in _rules_of(tool) if rule != _TEXT]
    if request.answer_schema is not None:
        rules += _schema_rules(request.answer_schema, request.strict_answer)
    return rules


def turn_grammar(request: GenerationRequest, faults: Mapping[str, str] = _NO_FAULTS) -> str:
    """The grammar of the assistant's turn, from the first token after `<|start|>assistant`.

    `(analysis)? (preamble (analysis)?)? (final | call+)`, where each message ends with its own terminator. A call that
    ends with `<|end|>` may be followed by another one; `<|call|>` ends the turn. `faults`: why which of `rules_to_try`
    can not be enforced.

    Raises:
        ToolRefused: a tool's schema uses a keyword that can not be enforced.
        BadRequest: that of the answer does, or a schema is too large or too deep.
    """
    grammar = "\n".join(_rules(request, faults))
    if fault := _fault(grammar):
        raise BadRequest(f"A schema can not be enforced: {fault}.")
    return grammar


def _rules(request: GenerationRequest, faults: Mapping[str, str]) -> Iterator[str]:
    callable_tools = request.callable_tools
    yield "%llguidance {}"
    budget = _budget(request)
    words = _preamble_budget(request, budget) if request.tool_choice.mode == "required" else None
    yield f"start: {'' if budget == 0 else 'thought? '}{_turn(request, bool(callable_tools), words)}"
    yield from _message("thought", "analysis", budget)
    yield from _message("preamble", "commentary", words)
    yield from _message("afterthought", "analysis", _afterthought_budget(budget, words))
    yield f'final: <|channel|> "final" <|message|> {_answer(request, faults)} <|return|>'
    if callable_tools:
        yield from _calls(callable_tools, faults, request.tool_choice.most_calls)
    yield f"{_TEXT}: /(?s:.*)/"


def _turn(request: GenerationRequest, may_call: bool, words: int | None) -> str:
    """`words`: tokens that a preamble may have, None for any number.

    An answer with a schema has none, since some APIs have one text for both.
    """
    if not may_call:
        return "final"
    preamble = "" if words is not None and words < SHORTEST_PREAMBLE else "(preamble afterthought?)? "
    if request.tool_choice.mode == "required":
        return f"{preamble}calls"
    return f"{preamble}(final | calls)" if request.answer_schema is None else f"(final | {preamble}calls)"


def _kept(request: GenerationRequest) -> int:
    """Tokens of a limited turn that are no room for words."""
    return HEADERS + (SHORT_CALL if request.tool_choice.mode == "required" else 0)


def _budget(request: GenerationRequest) -> int | None:
    """Tokens of analysis. A quarter of a limited answer, and its headers, are kept for what the caller is to see."""
    limit = request.max_tokens
    limits = [] if limit is None else [max(0, min(limit * 3 // 4, limit - _kept(request)))]
    limits += [] if request.reasoning_budget is None else [request.reasoning_budget]
    return min(limits, default=None)


def _preamble_budget(request: GenerationRequest, thoughts: int | None) -> int:
    """Tokens that may be said before a call that must come."""
    if request.max_tokens is None:
        return LONGEST_PREAMBLE
    return min(LONGEST_PREAMBLE, (request.max_tokens - _kept(request) - (thoughts or 0)) // 2)


def _afterthought_budget(thoughts: int | None, words: int | None) -> int | None:
    """Tokens of analysis after a preamble."""
    limits = [] if thoughts is None else [thoughts // 4]
    limits += [] if words is None else [words // 2]
    return min(limits, default=None)


def _message(name: str, channel: str, budget: int | None) -> Iterator[str]:
    """A message of free text, of at most so many tokens, after which another one follows."""
    limit = "" if budget is None else f"[max_tokens={max(1, budget)}]"
    yield f'{name}: <|channel|> "{channel}" <|message|> {name}_text <|end|> <|start|> "assistant"'
    yield f"{name}_text{limit}: {_TEXT}"


def _answer(request: GenerationRequest, faults: Mapping[str, str]) -> str:
    if request.answer_schema is None:
        return _TEXT
    rules = _schema_rules(request.answer_schema, request.strict_answer)
    if rule := _first_enforceable(rules, faults):
        return rule
    raise BadRequest(f"The schema of the answer can not be enforced: {_why(faults[rules[-1]], request.answer_schema)}.")


def _calls(tools: Sequence[Tool], faults: Mapping[str, str], most: int | None) -> Iterator[str]:
    names = [f"call_{number}" for number, _ in enumerate(tools)]
    times = "*" if most is None or most > MOST_COUNTED_CALLS else f"{{0,{most - 1}}}"
    another = "" if most == 1 else f' (<|end|> <|start|> "assistant" ({" | ".join(names)})){times}'
    yield f"calls: ({' | '.join(names)}){another} <|call|>"
    rules = _told_apart(tools, [_rule_of(tool, faults) for tool in tools])
    inputs = {rule: f"input_{number}" for number, rule in enumerate(dict.fromkeys(rules))}
    for name, tool, rule in zip(names, tools, rules, strict=True):
        yield f"{name}: <|channel|> {_header(tool)} <|message|> {inputs[rule]}"
    for rule, name in inputs.items():
        yield f"{name}: {rule}"
    yield 'COMMENTARY: "commentary"'
    yield 'ANALYSIS: "analysis"'


def _header(tool: Tool) -> str:
    """Channel, recipient and content type. The model likes to write a call on the analysis channel, too; there, plain
    text could be a thought as well."""
    recipient = f" to=functions.{tool.name}"
    if tool.freeform is None:
        return f'(COMMENTARY | ANALYSIS) {_literal(recipient + " ")} <|constrain|> "json"'
    return f"COMMENTARY {_literal(recipient)}"


def _told_apart(tools: Sequence[Tool], rules: Sequence[str]) -> list[str]:
    """The rules, of which at most `MOST_SCHEMAS` differ: beyond these, a tool that is not strict takes any object.

    Raises:
        BadRequest: those that have to be enforced are too many alone.
    """
    needed = {rule for tool, rule in zip(tools, rules, strict=True) if tool.strict or tool.freeform}
    if len(needed) > MOST_SCHEMAS:
        raise BadRequest(f"At most {MOST_SCHEMAS} tools may be strict or have a grammar, unless they have the same.")
    kept = set(islice(dict.fromkeys((*needed, *rules)), MOST_SCHEMAS))
    return [rule if rule in kept else _ANY_OBJECT for rule in rules]


def _rule_of(tool: Tool, faults: Mapping[str, str]) -> str:
    """
    Raises:
        ToolRefused: none of its rules can be enforced.
    """
    rules = _rules_of(tool)
    if rule := _first_enforceable(rules, faults):
        return rule
    raise ToolRefused(tool.name, _why(faults[rules[-1]], tool.parameters or {}))


def _first_enforceable(rules: Sequence[str], faults: Mapping[str, str]) -> str | None:
    return next((rule for rule in rules if not faults.get(rule)), None)


def _rules_of(tool: Tool) -> list[str]:
    """What the tool takes, the strictest rule first.

    Unless the tool is strict, a schema that nobody can follow is no reason to refuse a request: in the end only the
    names of its properties are enforced, or that it is an object.
    """
    match tool.freeform:
        case None:
            schema = _input_schema(tool.parameters)
            rules = _schema_rules(schema, tool.strict)
            return rules if tool.strict else [*rules, json_rule(names_only(schema), strict=False), _ANY_OBJECT]
        case freeform if freeform.syntax == "regex":
            return [f"/{_SLASHES.sub(_escaped, freeform.definition)}/"]
        case freeform if freeform.syntax == "lark":
            return [f"%lark {{\n{freeform.definition}\n}}"]
    return [_TEXT]


def _input_schema(parameters: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """What a tool takes is what it lists, which is all that the model is told of."""
    return closed(parameters) if parameters else _NO_INPUT


def _schema_rules(schema: Mapping[str, Any], strict: bool) -> list[str]:
    """What satisfies the schema, and, if it is not strict, what remains of it without what may be hard to enforce."""
    rules = [json_rule(schema, strict=strict)]
    return rules if strict else list(dict.fromkeys([*rules, json_rule(weakened(schema), strict=False)]))


def _why(fault: str, schema: Mapping[str, Any]) -> str:
    """The fault, with the keywords that it is likely to be about, unless it names one."""
    named = telling_keywords(schema) if fault.startswith("it ") else []
    return f"{fault} (it uses {', '.join(map(repr, named))})" if named else fault


def _escaped(match: re.Match[str]) -> str:
    return r"\/" if match[0] == "/" else match[0]


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _fault(grammar: str) -> str:
    """Why the library refuses it, or ""."""
    fault = _KNOWN.find(grammar)
    if fault is None:
        fault = _found(grammar)
        _KNOWN.add(grammar, fault)
    return fault


def _found(grammar: str) -> str:
    try:
        return reason(LLMatcher.validate_grammar(LLMatcher.grammar_from_lark(grammar)))
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # no Exception, and nothing that could be imported
            raise
        return TOO_COMPLEX
