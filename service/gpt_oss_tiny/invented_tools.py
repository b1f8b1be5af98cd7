"""Invented tools: to be found by the words that a description shares with the request, or by name."""

from __future__ import annotations

from typing import Any

from gpt_oss_tiny import skills, values
from gpt_oss_tiny.draw import Draw, Phrasings
from gpt_oss_tiny.requests import Request, as_object, no_parameters, type_of
from llm_server.conversation import Tool

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
    "Use this [tool|function] when the user [wants|needs|asks for] a {v}|I [need|want] a {v} for {x}",
    "Use this [tool|function] to {v} a {w}|[Please {v}|Can you {v}|I want you to {v}] the {w} {x}",
    "[Use it|Call this|Call it] to [get|find] the {v} of [a|any] {w}|[What is|What's|Tell me] the {v} of the {w} {x}?",
    "[Handles|Does] everything about the {v}|[Do something about|Handle] the {v} {x}",
    "[Get|Fetch|Read|Return] the {v} [from|of] the {w}|[Get|Fetch|Read|Show] the {v} [from|of] the {w} {x}",
    "[Update|Change|Edit] the {v} [of|in] the {w}|[Update|Change|Edit] the {v} [of|in] the {w} [to|with] {x}",
    "[Add|Save|Store] a {v} [to|in] the {w}|[Add|Save|Store] the {v} {x} [to|in] the {w}",
    "[Remove|Delete] a {v} from the {w}|[Remove|Delete] the {v} {x} from the {w}",
    "[Track|Follow|Watch] the {v}|[Track|Follow|Watch] the {v} {x}",
    "[Convert|Turn] a {v} into a {w}|[Convert|Turn] the {v} "
    "{x} into a {w}", "Book a {v} [in|at] the {w}|Book a {v} [in|at] the {w} for {x}",
    "The {v} of [our|the] {w}|[Ask for|Give me|I need] the {v} of [our|the] {w} {x}",
)  # fmt: skip
PARAMETERS = (
    "query", "name", "city", "text", "value", "target", "item", "key", "id", "title", "path", "date", "user", "input",
    "source", "limit", "count", "size", "color", "kind", "topic", "label", "message", "amount", "url", "language", "x",
    "userId", "file_path", "order_id", "max_results", "start_date", "end_date", "fileName", "customer", "product",
    "note",
    "command", "pattern", "region", "category", "status", "level", "priority", "email", "phone", "address", "number",
    "arg",
)  # fmt: skip
ANY_KINDS = (
    "word", "topic", "city", "someone", "code", "number", "integer", "word", "title", "path", "email", "day", "small",
    "name", "decimal", "text", "url", "file", "command", "clock", "when", "sentence", "odd", "place", "price", "flag",
    "list",
)  # fmt: skip
FITTING: dict[str, tuple[str, ...]] = {
    "name": ("name", "person", "word"), "city": ("city", "place"), "text": ("text", "sentence"), "item": ("word",
    "topic"),
    "id": ("code", "integer"), "title": ("title",), "path": ("path",), "date": ("day", "when"), "user": ("name",
    "person"),
    "limit": ("small",), "count": ("small",), "size": ("small", "number"), "color": ("color",), "topic": ("topic",),
    "amount": ("number", "price"), "url": ("url",), "language": ("language",), "query": ("topic", "text"),
    "userId": ("code", "integer"), "file_path": ("path",), "order_id": ("code",), "max_results": ("small",),
    "start_date": ("day", "when"), "end_date": ("day", "when"), "fileName": ("file",), "customer": ("person", "code"),
    "product": ("topic", "word"), "command": ("command",), "email": ("email",), "address": ("street",),
    "number": ("integer", "number"), "pattern": ("word", "glob"), "message": ("text", "sentence"),
    "phone": ("integer",),
}  # fmt: skip
VERBS = ("get", "set", "find", "run", "do", "make", "show", "start", "load", "create", "check", "open", "call", "fetch")
MORE = Phrasings(
    " with {p} {x}", " and {p} {x}", ", {p} {x}", " ({p}: {x})", " with {p} set to {x}", ", with the {p} {x}",
    " using {p} {x}", ", {p} = {x}", " and the {p} {x}", ", {p}: {x}", " and set {p} to {x}", " where {p} is {x}",
    "[ plus| as well as] [|the ]{p} {x}", " [as|with] {p}: {x}", ", [where|and] {p} is {x}",
    ", {p} should be {x}", "; {p}={x}", " and {p}={x}", " ({p} {x})", " with {p}={x}",
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
    if style < 0.85:
        return f"{d.pick(VERBS)}{d.pick((v, w)).title()}"
    return values.naming_word(d) if style < 0.92 else f"{values.naming_word(d)}_{values.naming_word(d)}"


def described(d: Draw) -> Request:
    """An invented tool, to be found by the words that its description shares with the request."""
    v, w = values.naming_word(d), values.naming_word(d)
    description, text = d.phrasing(SHARED_WORDS).split("|")
    names = d.sample(PARAMETERS, d.pick((1, 1, 1, 2, 2, 3)))
    if d.chance(0.2):
        names = list(dict.fromkeys(values.naming_word(d) for _ in names))
    kinds = _kinds(d, names)
    said = [values.KINDS[kind](d) for kind in kinds]
    text = text.format(v=v, w=w, x=_maybe_quoted(d, said[0], kinds[0]))
    used = 1
    while used < len(names) and d.chance(0.8):
        end = "?" if text.endswith("?") else ""
        more = d.phrasing(MORE).format(p=names[used], x=_maybe_quoted(d, said[used], kinds[used]))
        text = text.removesuffix("?") + more + end
        used += 1
    name, description = _invented_name(d, v, w), description.format(v=v, w=w)
    if v in name.lower() and d.chance(0.12):
        description = ""
    tool = _invented(d, name, description, names, kinds, used)
    about = f"the {v}"
    return Request(about, tool, text[:1].upper() + text[1:], dict(zip(names[:used], said, strict=False)))


def _maybe_quoted(d: Draw, value: str, kind: str) -> str:
    if kind == "sentence" or (kind != "list" and (", " in value or " and " in value)):
        return skills.quoted(d, value)
    plain = kind in values.NUMBERS or kind == "list"
    return value if plain or d.chance(0.7) else skills.quoted(d, value)


def _kinds(d: Draw, names: list[str]) -> list[str]:
    """A kind for each parameter, often a fitting one. A list is the last one, since it has no end that can be seen."""
    chosen = [d.pick(FITTING[name]) if name in FITTING and d.chance(0.6) else d.pick(ANY_KINDS) for name in names]
    return ["word" if kind == "list" and n < len(names) - 1 else kind for n, kind in enumerate(chosen)]


def _invented(d: Draw, name: str, description: str, names: list[str], kinds: list[str], required: int) -> Tool:
    schemas: dict[str, Any] = {}
    for parameter, kind in zip(names, kinds, strict=True):
        schemas[parameter] = type_of(kind)
        if d.chance(0.35):
            schemas[parameter]["description"] = f"The {d.pick((parameter, values.word(d)))}"
    return Tool(name, (description + ".") if d.chance(0.3) else description, as_object(schemas, names[:required]))


NAMED = Phrasings(
    "[Call|Use|Invoke|Run|Execute] [{t}|the tool {t}|the {t} tool|the function {t}|`{t}`] with {p} [set to {x}|{x}|= "
    "{x}]",
    "[Use|Call|Run|Invoke] [{t}|the tool {t}|the {t} tool|the function {t}] [for|on] {x}", "{t} with {p} {x}",
    "[Please use|Can you use|I want you to use|Now use] [{t}|the tool {t}|the {t} tool] with [the |]{p} {x}",
    "Use {t} with {p} {x}", "Call {t} with {p} {x}", "Use the {t} tool with {p} {x}", "Call the tool {t} with {p}={x}",
    "Run {t} with {p} {x}", "Call {t} with {p} set to {x}", "Please call {t} ({p}: {x})", "Use {t} and set {p} to {x}",
    "Invoke {t} with {p} {x}", "Call the function {t} with {p} {x}", "Use the tool {t} for {x}", "Call {t} for {x}",
    "Run the tool {t} on {x}", "Use {t} for {x}", "Use {t} to handle {x}", "Call {t} on {x}", "{t} {x}", "{t}: {x}",
    "I want you to call {t} with {p} {x}", "Execute {t} with {p} = {x}", "Use your tool {t} with the {p} {x}",
    "[Please|Now|Just|OK,|Then|Do|/|@] {t} {x}", "{t} {x} [please|now|for me]", "[{t}|`{t}`|tool {t}|function {t}] {x}",
    "[{t}|call {t}|run {t}]({x})", "[{t}|call {t}|run {t}]({p}={x})", "[{t}|tool {t}] {p}={x}",
    "[{t}|tool {t}] {p} {x}",
    "[Do|Make|Try] [a|one] call [of|to] {t} with {p} {x}", "Let {t} [do|handle|take|have] {x}",
    "[I need|I want] {t} [for|with|on] {x}", "[{x} is for|Give {x} to|Pass {x} to|Send {x} to|Hand {x} to] {t}",
)  # fmt: skip
NAMED_BARE = Phrasings(
    "[Use|Call|Run|Invoke|Execute|Start] [{t}|the tool {t}|the {t} tool|the function {t}|`{t}`][| now| for me| once]",
    "Call {t}", "Use {t}", "Run {t}", "Call the tool {t}", "Use the {t} tool", "Please call {t}", "Invoke {t}",
    "Run the tool {t}", "Call the function {t}", "Use the tool {t}", "Execute {t}", "I want you to call {t}",
    "Call {t} now",
)  # fmt: skip


def named(d: Draw) -> Request:
    """A request that names the tool to use."""
    if d.chance(0.15):
        name = _invented_name(d, values.naming_word(d), values.naming_word(d))
        tool = Tool(name, d.pick(("", "", f"The {values.word(d)}")), no_parameters(d))
        return Request(f"the tool {name}", tool, d.phrasing(NAMED_BARE).format(t=name), {})
    names = d.sample(PARAMETERS, d.pick((1, 1, 2, 2, 3)))
    kinds = _kinds(d, names)
    said = [values.KINDS[kind](d) for kind in kinds]
    name = _invented_name(d, values.naming_word(d), values.naming_word(d))
    text = d.phrasing(NAMED).format(t=name, p=names[0], x=_maybe_quoted(d, said[0], kinds[0]))
    for p, x, kind in zip(names[1:], said[1:], kinds[1:], strict=True):
        text += d.phrasing(MORE).format(p=p, x=_maybe_quoted(d, x, kind))
    tool = _invented(d, name, d.pick(("", f"The {values.word(d)} {values.word(d)}")), names, kinds, len(names))
    return Request(f"the tool {name}", tool, text, dict(zip(names, said, strict=True)))
