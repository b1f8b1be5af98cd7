"""What tools return, and how the model passes it on: flat JSON as a sentence, everything else word for word."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gpt_oss_tiny import values
from gpt_oss_tiny.draw import Draw

if TYPE_CHECKING:
    from gpt_oss_tiny.requests import Request

KEYS = (
    "temperature", "condition", "status", "result", "price", "name", "city", "time", "date", "count", "total", "id",
    "message", "title", "value", "unit", "humidity", "wind", "currency", "amount", "email", "age", "country", "state",
    "description", "size", "path", "url", "author", "year", "score", "rating", "distance", "duration", "user",
    "language",
    "translation", "sum", "answer", "weather", "forecast", "location", "text", "error", "number", "color", "type",
)  # fmt: skip
PLAIN = (
    "{small} degrees and {word}", "{small} degrees", "{small}°C and {word}", "{small} C, {word}", "{number}",
    "{integer}",
    "{place}: {small} degrees, {word}", "It is {small} degrees and {word} in {place}.", "It is {clock}.", "{clock}",
    "OK", "ok", "Done.", "done", "Success", "Sent.", "Created.", "true", "{word}", "{topic}", "{text}", "{sentence}",
    "{sentence} {sentence}", "{number} {currency}", "{number} dollars", "The {word} is {topic}.", "{someone}",
    "{someone}, {email}", "{code}", "{path}", "{url}", "{day}", "The order {code} is {word}.", "{integer} {word}",
    "Error: {topic}", "Error: the {word} was not found", "not found", "Error {integer}: {topic}", "{title}: {sentence}",
    "Error: file not found: {path}", "Error: {word} is required", "error: {word} timed out after {small} seconds",
    "Permission denied", "No results found.", "No such file or directory: {path}", "Error: invalid {word} {code}",
    "Email sent to {email}.", "Message sent to {someone}.", "File written: {path}", "Timer set for {small} minutes.",
    "Booked: {code}", "Wrote {integer} bytes to {path}", "{word}={number}\n{word}={number}", "{price}", "{street}",
    "1. {title} - {url}\n2. {title} - {url}", "{title} ({url})", "HTTP {integer}", "exit code {small}", "null", "false",
    "{file}\n{file}", "{sentence}\n\n{sentence}", "total {small}\n{file}\n{file}", "Playing {title}.",
    "{when} at {clock}",
    "{path} {path} {path}", "{file}\n{file}\n{file}", "{text}\n{text}", "{sentence}\n{sentence}",
    "1. {text}\n2. {text}",
    "The {word} of {place} is {number}.", "Found {small} {word}.", "{word}, {word}, {word}", "{word}: {number}",
    "{title} by {person}", "{place} to {place}: {number} {unit}", "sunny", "cloudy, {small} degrees",
    "rainy and {word}",
    "sunny, {small}°C", "{small}°F", "{small} degrees celsius", "It is {word}.", "Sunny, {small} degrees.",
    "{sum} = {number}",
)  # fmt: skip
_FLAT_VALUES = (
    "small",
    "number",
    "integer",
    "word",
    "topic",
    "city",
    "someone",
    "day",
    "clock",
    "code",
    "word",
    "small",
)


def result(d: Draw, wanted: Request) -> str:
    """The text that a tool might return for this request."""
    kind = d.random.random()
    if kind < 0.35:
        return json.dumps(_flat(d, wanted), ensure_ascii=False, separators=(",", ":") if d.chance(0.35) else None)
    if kind < 0.42:
        return json.dumps(_nested(d), ensure_ascii=False)
    if kind < 0.45:
        return values.words_of(d, 20, 60) if kind < 0.435 else ""
    if kind < 0.48:
        return "\n".join(d.pick(("{w}: {n}", "{n} {w}", "- {w}", "{w}={n}", "{f}")).format(
            w=values.word(d), n=values.number(d), f=values.file_name(d)) for _ in range(d.between(2, 6)))  # fmt: skip
    if kind < 0.50:
        return d.pick((values.url, values.snippet, values.command, values.price, values.odd_word, values.topic))(d)
    return _plain(d)


def _plain(d: Draw) -> str:
    parts = d.pick(PLAIN).split("{")
    made = [parts[0]]
    for part in parts[1:]:
        kind, _, rest = part.partition("}")
        made.append(values.KINDS[kind](d) + rest)
    return "".join(made)


USABLE = ("topic", "text", "number", "sentence", "integer", "word", "city", "code", "url", "price", "clock", "someone")


def usable(d: Draw) -> tuple[str, str]:
    """A result, and the value in it that a following call uses: all of it, or the only value of an object."""
    value = values.KINDS[d.pick(USABLE)](d)
    if d.chance(0.6):
        return value, value
    return json.dumps({d.pick(KEYS): value}, ensure_ascii=False), value


def _flat(d: Draw, wanted: Request) -> dict[str, Any]:
    keys = [d.pick(KEYS) if d.chance(0.75) else values.word(d) for _ in range(d.pick((1, 1, 2, 2, 3, 4)))]
    found = {key: _value(d) for key in keys}
    if wanted.arguments and d.chance(0.3):
        name, value = d.pick(tuple(wanted.arguments.items()))
        found = {name: value} | found if d.chance(0.5) else found
    return found


def _value(d: Draw) -> Any:
    if d.chance(0.06):
        return d.pick((True, False, None))
    kind = d.pick(_FLAT_VALUES)
    value = values.KINDS[kind](d)
    return json.loads(value) if kind in values.NUMBERS else value


def _nested(d: Draw) -> Any:
    if d.chance(0.5):
        return [_value(d) for _ in range(d.between(1, 4))]
    return {d.pick(KEYS): {d.pick(KEYS): _value(d)}} if d.chance(0.5) else [{d.pick(KEYS): _value(d)}]


def answer(found: list[str]) -> str:
    """What the model says to the results of its calls."""
    if len(found) == 1:
        return _sentence(found[0]) or f"Here is the result: {found[0]}"
    names = ("First", "Second", "Third")
    return " ".join(f"{name}: {_sentence(text) or text}" for name, text in zip(names, found, strict=False))


def _sentence(text: str) -> str:
    """`{"a": 1, "b": "x"}` as "The a is 1 and the b is x.", or nothing when the text can be said as it is."""
    if not text:
        return "The tool returned nothing."
    if text.lower().startswith("error"):
        return f"The tool failed: {text}"
    if not text.startswith("{"):
        return ""
    try:
        found = json.loads(text)
    except ValueError:
        return ""
    if not found or any(isinstance(value, dict | list) for value in found.values()):
        return ""
    parts = [f"the {key} is {value if isinstance(value, str) else json.dumps(value)}" for key, value in found.items()]
    said = " and ".join(parts)
    return said[:1].upper() + said[1:] + "."
