"""Skills with tools: which one to call and with what, when to leave them alone, and what to say to their results."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from gpt_oss_tiny import results, skills, tools, values
from gpt_oss_tiny.draw import Draw, Phrasings
from gpt_oss_tiny.scene import Call, Exchange, Reply, Scene
from llm_server.conversation import Tool

RIVALS = (
    {"an addition", "a product", "a calculation"},
    {"a conversion", "units"},
    {"the time", "the time zone"},
    {"an email", "a message", "a payment"},
    {"a search", "the news", "a definition", "a user", "a price", "a product", "a web page"},
    {"a folder", "a file", "a web page"},
    {"a note", "a task", "a reminder"},
    {"buying", "an order", "cancelling an order"},
    {"a flight", "a route"},
    {"music", "a picture"},
)
"""Kinds of tools that could serve one request equally well, so they are never declared together."""


@dataclass(frozen=True)
class Request:
    """A request that one declared tool serves: what is said, and the call that it needs."""

    about: str
    tool: Tool
    text: str
    arguments: dict[str, str]

    @property
    def call(self) -> Call:
        properties = (self.tool.parameters or {}).get("properties", {})
        pairs = (f"{json.dumps(n)}: {_json(v, properties[n])}" for n, v in self.arguments.items())
        return Call(self.tool.name, "{" + ", ".join(pairs) + "}")

    @property
    def thoughts(self) -> tuple[str, ...]:
        names = " and ".join(self.arguments) or "nothing"
        return (
            f"The user asks for {self.about}, so I call {self.tool.name}.",
            f"I have to fill in {names}.",
            "The values come from the request.",
            "Then I can answer with the result.",
        )


def _json(value: str, schema: dict[str, Any]) -> str:
    return value if schema["type"] in ("integer", "number") else json.dumps(value, ensure_ascii=False)


def request(d: Draw, domain: tools.Domain) -> Request:
    """A request of this domain and the tool that serves it, declared as some caller might."""
    template = d.phrasing(domain.requests)
    used = [key for key in domain.slots if "{" + key + "}" in template]
    always = [key for key in domain.slots if all("{" + key + "}" in t for t in _templates(domain))]
    declared = [key for key in domain.slots if key in used or key in always or d.chance(0.5)]
    if d.chance(0.15):
        d.random.shuffle(declared)
    said = {key: _value(d, domain.slots[key]) for key in used}
    names = _distinct_names(d, [domain.slots[key].names for key in declared])
    properties = {n: _schema(d, domain.slots[key]) for n, key in zip(names, declared, strict=True)}
    required = [n for n, key in zip(names, declared, strict=True) if key in always]
    properties |= _unused(d, names)
    tool = Tool(d.pick(domain.names), _description(d, domain.descriptions), _object(properties, required))
    arguments = {n: said[key] for n, key in zip(names, declared, strict=True) if key in said}
    return Request(domain.about, tool, template.format(**said), arguments)


EXTRAS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("verbose", {"type": "boolean"}), ("tags", {"type": "array", "items": {"type": "string"}}), ("page",
    {"type": "integer"}),
    ("options", {"type": "object", "properties": {"depth": {"type": "integer"}, "mode": {"type": "string"}}}),
    ("dry_run", {"type": "boolean", "default": False}), ("timeout", {"type": "number", "default": 30}),
    ("format", {"type": "string", "enum": ["json", "text"], "default": "text"}), ("ids", {"type": "array",
    "items": {}}),
    ("sort", {"type": "string", "enum": ["asc", "desc"]}), ("offset", {"type": "integer",
    "description": "Where to start"}),
    ("encoding", {"type": "string", "description": "The encoding of the text", "default": "utf-8"}),
    ("reason", {"type": ["string", "null"], "description": "Why this is done"}), ("force", {"type": "boolean"}),
)  # fmt: skip
"""Optional parameters as real callers have them, which no request of the corpus needs."""


def _unused(d: Draw, taken: list[str]) -> dict[str, Any]:
    if d.chance(0.75):
        return {}
    return {name: schema for name, schema in d.sample(EXTRAS, d.between(1, 3)) if name not in taken}


def _templates(domain: tools.Domain) -> tuple[str, ...]:
    return domain.requests.train + domain.requests.held_out


def _distinct_names(d: Draw, choices: list[tuple[str, ...]]) -> list[str]:
    chosen: list[str] = []
    for names in choices:
        free = [name for name in names if name not in chosen]
        chosen.append(names[0] if names[0] in free and d.chance(0.4) else d.pick(free))
    return chosen


def _value(d: Draw, slot: tools.Slot) -> str:
    return d.pick(slot.options) if slot.options else values.KINDS[slot.kind](d)


def _schema(d: Draw, slot: tools.Slot) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": values.NUMBERS.get(slot.kind, "string")}
    if slot.options:
        schema["enum"] = list(slot.options)
    if slot.descriptions and d.chance(0.6):
        text = d.pick(slot.descriptions)
        schema["description"] = text.format(e=_value(d, slot)) if "{e}" in text else text
    return schema


def _description(d: Draw, descriptions: tuple[str, ...]) -> str:
    text = d.pick(descriptions)
    if d.chance(0.2):
        return f"{text}. {' '.join(d.sample(DETAILS, d.between(1, 3)))}"
    return text + "." if d.chance(0.4) else text


DETAILS = (
    "Returns JSON.", "Use this tool when the user asks for it.", "Returns an error if nothing is found.", "Fast.",
    "This tool is safe to call.", "Do not call it more than once.", "The result is plain text.", "Needs a network.",
    "Call it with all required parameters.", "Results are sorted by relevance.", "It may take a few seconds.",
    "Only use it if the user asked.", "Returns a list of strings.", "Supports any language.\nReturns text.",
    "Example: see the documentation.", "Prefer it over other tools.", "Reads from the server.", "Always up to date.",
)  # fmt: skip


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any] | None:
    return {"type": "object", "properties": properties, "required": required} if properties else None


def other_tools(d: Draw, wanted: Request | None, count: int) -> list[Tool]:
    """Tools of other kinds than the wanted one, none of which would serve it as well."""
    about = {wanted.about} if wanted else set[str]()
    taken = {wanted.tool.name} if wanted else set[str]()
    found: list[Tool] = []
    for domain in d.sample(tools.DOMAINS, len(tools.DOMAINS)):
        if len(found) == count:
            break
        if any(domain.about in group and about & group for group in RIVALS) or domain.about in about:
            continue
        tool = request(Draw(d.between(0, 2**31)), domain).tool if d.chance(0.8) else described(d).tool
        if tool.name not in taken:
            found.append(tool)
            taken.add(tool.name)
            about.add(domain.about)
    return found


def shuffled(d: Draw, *declared: Tool) -> tuple[Tool, ...]:
    mixed = list(declared)
    d.random.shuffle(mixed)
    return tuple(mixed)


SHARED_WORDS = Phrasings(
    "Get the {v} of a {w}|What is the {v} of the {w} {x}?", "Get the {v} of a {w}|Get the {v} of the {w} {x}",
    "Find a {v} for the {w}|Find a {v} for the {w} {x}", "Find {v} by {w}|Find the {v} with the {w} {x}",
    "Look up {v} data of the {w}|Give me the {v} data of the {w} {x}", "Returns the {v} {w}|Show me the {v} {w} of {x}",
    "Returns the {v} of the {w}|Which {v} has the {w} {x}?", "Use it for the {v}|I need the {v} for {x}",
    "Set the {v} of the {w}|Set the {v} of the {w} to {x}", "Change the {v}|Change the {v} to {x}",
    "Check whether the {v} is {w}|Check whether the {v} is {w} for {x}", "Start the {v}|Start the {v} {x}",
    "Manage the {v} in the {w}|Manage the {v} in the {w} with {x}",
    "Open the {v} of the {w}|Open the {v} of the {w} {x}",
    "{v} the {w}|{v} the {w} {x}", "Calculates the {v} of a {w}|Calculate the {v} of the {w} {x}",
    "Create a {v}|Create a {v} with {x}", "Create a {v} {w}|Create a {v} {w} named {x}",
    "Stop the {v}|Stop the {v} {x}",
    "Tells the {v} of any {w}|Tell me the {v} of the {w} {x}", "Report a {v}|Report a {v} for {x}",
    "Search the {v} of the {w}|Search the {v} of the {w} for {x}",
    "The {v} {w} service|Ask the {v} {w} service about {x}",
    "Send a {v} to the {w}|Send a {v} to the {w} {x}", "List the {v} of a {w}|List the {v} of the {w} {x}",
)  # fmt: skip
PARAMETERS = (
    "query", "name", "city", "text", "value", "target", "item", "key", "id", "title", "path", "date", "user", "input",
    "source", "limit", "count", "size", "color", "kind", "topic", "label", "message", "amount", "url", "language", "x",
)  # fmt: skip
ANY_KINDS = (
    "word", "topic", "city", "someone", "code", "number", "integer", "word", "title", "path", "email", "day", "small",
    "name", "decimal", "text",
)  # fmt: skip
VERBS = ("get", "set", "find", "run", "do", "make", "show", "start", "load", "create", "check", "open", "call", "fetch")
MORE = Phrasings(
    " with {p} {x}", " and {p} {x}", ", {p} {x}", " ({p}: {x})", " with {p} set to {x}", ", with the {p} {x}",
    " using {p} {x}", ", {p} = {x}", " and the {p} {x}", ", {p}: {x}",
)  # fmt: skip


def _invented_name(d: Draw, v: str, w: str) -> str:
    style = d.random.random()
    if style < 0.3:
        return f"{v}_{w}"
    if style < 0.55:
        return f"{d.pick(VERBS)}_{d.pick((v, w))}"
    if style < 0.7:
        return v + w.title()
    if style < 0.8:
        return f"{d.pick(('tool', 'function', 'fn', 'action', 'task'))}_{d.pick('abcdefgxyz123456789')}"
    return values.naming_word(d) if style < 0.9 else f"{values.naming_word(d)}_{values.naming_word(d)}"


def described(d: Draw) -> Request:
    """An invented tool, to be found by the words that its description shares with the request."""
    v, w = values.naming_word(d), values.naming_word(d)
    description, text = d.phrasing(SHARED_WORDS).split("|")
    names = d.sample(PARAMETERS, d.pick((1, 1, 1, 2, 2, 3)))
    kinds = [d.pick(ANY_KINDS) for _ in names]
    said = [values.KINDS[kind](d) for kind in kinds]
    text = text.format(v=v, w=w, x=_maybe_quoted(d, said[0], kinds[0]))
    used = 1
    while used < len(names) and d.chance(0.8):
        end = "?" if text.endswith("?") else ""
        more = d.phrasing(MORE).format(p=names[used], x=_maybe_quoted(d, said[used], kinds[used]))
        text = text.removesuffix("?") + more + end
        used += 1
    tool = _invented(d, _invented_name(d, v, w), description.format(v=v, w=w), names, kinds, used)
    about = f"the {v}"
    return Request(about, tool, text[:1].upper() + text[1:], dict(zip(names[:used], said, strict=False)))


def _maybe_quoted(d: Draw, value: str, kind: str) -> str:
    return skills.quoted(d, value) if kind not in values.NUMBERS and d.chance(0.25) else value


def _invented(d: Draw, name: str, description: str, names: list[str], kinds: list[str], required: int) -> Tool:
    schemas: dict[str, Any] = {}
    for parameter, kind in zip(names, kinds, strict=True):
        schemas[parameter] = {"type": values.NUMBERS.get(kind, "string")}
        if d.chance(0.35):
            schemas[parameter]["description"] = f"The {d.pick((parameter, values.word(d)))}"
    return Tool(name, (description + ".") if d.chance(0.3) else description, _object(schemas, names[:required]))


NAMED = Phrasings(
    "Use {t} with {p} {x}", "Call {t} with {p} {x}", "Use the {t} tool with {p} {x}", "Call the tool {t} with {p}={x}",
    "Run {t} with {p} {x}", "Call {t} with {p} set to {x}", "Please call {t} ({p}: {x})", "Use {t} and set {p} to {x}",
    "Invoke {t} with {p} {x}", "Call the function {t} with {p} {x}", "Use the tool {t} for {x}", "Call {t} for {x}",
    "Run the tool {t} on {x}", "Use {t} for {x}", "Use {t} to handle {x}", "Call {t} on {x}", "{t} {x}", "{t}: {x}",
    "I want you to call {t} with {p} {x}", "Execute {t} with {p} = {x}", "Use your tool {t} with the {p} {x}",
)  # fmt: skip
NAMED_BARE = Phrasings(
    "Call {t}", "Use {t}", "Run {t}", "Call the tool {t}", "Use the {t} tool", "Please call {t}", "Invoke {t}",
    "Run the tool {t}", "Call the function {t}", "Use the tool {t}", "Execute {t}", "I want you to call {t}",
    "Call {t} now",
)  # fmt: skip


def named(d: Draw) -> Request:
    """A request that names the tool to use."""
    if d.chance(0.15):
        name = _invented_name(d, values.naming_word(d), values.naming_word(d))
        tool = Tool(name, d.pick(("", "", f"The {values.word(d)}")))
        return Request(f"the tool {name}", tool, d.phrasing(NAMED_BARE).format(t=name), {})
    names = d.sample(PARAMETERS, d.pick((1, 1, 2, 2, 3)))
    kinds = [d.pick(ANY_KINDS) for _ in names]
    said = [values.KINDS[kind](d) for kind in kinds]
    name = _invented_name(d, values.naming_word(d), values.naming_word(d))
    text = d.phrasing(NAMED).format(t=name, p=names[0], x=_maybe_quoted(d, said[0], kinds[0]))
    for p, x, kind in zip(names[1:], said[1:], kinds[1:], strict=True):
        text += d.phrasing(MORE).format(p=p, x=_maybe_quoted(d, x, kind))
    tool = _invented(d, name, d.pick(("", f"The {values.word(d)} {values.word(d)}")), names, kinds, len(names))
    return Request(f"the tool {name}", tool, text, dict(zip(names, said, strict=True)))


def tool_request(d: Draw) -> Request:
    kind = d.random.random()
    return request(d, d.pick(tools.DOMAINS)) if kind < 0.55 else described(d) if kind < 0.85 else named(d)


RESULT_THOUGHTS = ("The tool has answered.", "I can tell the user the result.", "Nothing else is asked for.")


def exchange(d: Draw, wanted: Request, preamble: str = "") -> Exchange:
    """The request, the call, its result, and the answer."""
    result = results.result(d, wanted)
    answer = Reply((*RESULT_THOUGHTS, "I will keep the answer short."), results.answer([result]))
    text = skills.polite(d, wanted.text)
    return Exchange(text, (Reply(wanted.thoughts, preamble, wanted.call), answer), (result,))


def single(d: Draw, wanted: Request) -> Scene:
    others = other_tools(d, wanted, d.pick((0, 1, 2, 2, 3, 3)))
    return Scene("tool call", (exchange(d, wanted),), tools=shuffled(d, wanted.tool, *others))


JOINED = Phrasings(
    "{a} {b}", "{a} And {b_}", "{a} Then {b_}", "{a} Also, {b_}", "First {a_} Then {b_}", "{a} After that, {b_}",
    "Do two things: {a_} {b}", "{a} and then {b_}", "{a} Next, {b_}", "1. {a} 2. {b}", "{a} Afterwards, {b_}",
)  # fmt: skip


def two_calls(d: Draw) -> Scene:
    """Two requests in one message, served one after the other."""
    first = request(d, d.pick(tools.DOMAINS)) if d.chance(0.6) else described(d)
    second, text = _same_tool_again(d, first) if d.chance(0.5) else (None, "")
    declared = [first.tool]
    if second is None:
        second = _other_request(d, first)
        declared.append(second.tool)
        text = _joined(d, first.text, second.text)
    outcome = [results.result(d, first), results.result(d, second)]
    again = (
        f"The user also asks for {second.about}, so I call {second.tool.name}.",
        *second.thoughts[1:3],
        "Then I can answer with both results.",
    )
    final = Reply((*RESULT_THOUGHTS, "I will keep the answer short."), results.answer(outcome))
    replies = (Reply(first.thoughts, call=first.call), Reply(again, call=second.call), final)
    others = other_tools(d, first, d.pick((0, 0, 1, 2)))
    others = [tool for tool in others if tool.name not in {t.name for t in declared}]
    return Scene(
        "two calls",
        (Exchange(text, replies, tuple(outcome)),),
        tools=shuffled(d, *declared, *others),
        calls_first=d.chance(0.3),
    )


def _same_tool_again(d: Draw, first: Request) -> tuple[Request | None, str]:
    """The same request for another value: in Paris and in Rome."""
    if len(first.arguments) != 1:
        return None, ""
    ((name, value),) = first.arguments.items()
    kind = next((s.kind for dom in tools.DOMAINS if dom.about == first.about for s in dom.slots.values()), "")
    if not kind or first.text.count(value) != 1:
        return None, ""
    other = values.KINDS[kind](d)
    if other == value or other in first.text or "'" in first.text or '"' in first.text or "`" in first.text:
        return None, ""
    both = d.pick((f"{value} and {other}", f"{value} and then {other}", f"{value} and also {other}"))
    return Request(first.about, first.tool, "", {name: other}), first.text.replace(value, both)


def _other_request(d: Draw, first: Request) -> Request:
    taken = {first.about, *(about for group in RIVALS if first.about in group for about in group)}
    while True:
        second = request(d, d.pick(tools.DOMAINS)) if d.chance(0.7) else described(d)
        if second.about not in taken and second.tool.name != first.tool.name:
            return second


def _joined(d: Draw, first: str, second: str) -> str:
    first = first if first[-1] in ".?!" else first + "."
    parts = {"a": first, "b": second, "a_": first[:1].lower() + first[1:], "b_": second[:1].lower() + second[1:]}
    return d.phrasing(JOINED).format(**parts)


PREAMBLE_RULES = Phrasings(
    "Before you call a tool, say what you will do.", "Tell the user what you are doing before you call a tool.",
    "Announce every tool call.", "Explain what you do before each tool call.",
    "Say which tool you use before you use it.",
    "Always write a short preamble before calling a function.", "Announce your tool calls to the user.",
    "Before calling a function, write one sentence about it.", "Keep the user informed before you call tools.",
    "Begin with a short message to the user before any tool call.", "Give a short preamble before tool calls.",
)  # fmt: skip


def with_preamble(d: Draw) -> Scene:
    wanted = tool_request(d)
    told = exchange(d, wanted, f"I will use {wanted.tool.name} for that.")
    others = other_tools(d, wanted, d.between(0, 2))
    rule = d.phrasing(PREAMBLE_RULES)
    return Scene("preamble", (told,), (rule,), shuffled(d, wanted.tool, *others))
