"""Answers as JSON: the developer message ends in a schema, and the values come from the user's message."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

from gpt_oss_tiny import phrases, values
from gpt_oss_tiny.draw import Draw, Phrasings
from gpt_oss_tiny.requests import ARRAYS, type_of
from gpt_oss_tiny.scene import Exchange, Reply, Scene
from llm_server.api.structured import response_format

SHAPES: tuple[tuple[str, dict[str, str], Phrasings], ...] = (
    ("person", {"name": "person", "age": "small", "city": "city"}, Phrasings(
        "{name} is {age} years old and lives in {city}.", "{name}, {age}, from {city}",
        "I am {name}, {age}, from {city}.",
        "My name is {name}, I am {age} and I live in {city}.", "{name} ({age}) lives in {city}.",
        "In {city} lives {name}, who is {age} years old.",
        "Extract the person: {name} is {age} and comes from {city}.")),
    ("person", {"name": "someone", "age": "small"}, Phrasings(
        "{name} is {age} years old.", "{name} is {age}", "My friend {name} is {age}.", "{name}, {age} years old",
        "I am {name} and I am {age}.", "Make up no one, take {name}, aged {age}.", "Describe {name}, who is {age}.")),
    ("event", {"title": "topic", "date": "day", "place": "city"}, Phrasings(
        "The {title} is on {date} in {place}.", "On {date} there is the {title} in {place}.",
        "{title}, {date}, {place}",
        "Event: {title} in {place} on {date}", "We meet for the {title} on {date} in {place}.")),
    ("calendar_event", {"name": "topic", "date": "day", "participants": "name"}, Phrasings(
        "{participants} goes to the {name} on {date}.", "{name} with {participants} on {date}",
        "On {date}, {participants} has a {name}.", "Plan the {name} with {participants} for {date}.")),
    ("product", {"name": "topic", "price": "number", "quantity": "small"}, Phrasings(
        "{quantity} {name} for {price} dollars each", "The {name} costs {price} dollars and we have {quantity}.",
        "Product {name}, price {price}, quantity {quantity}", "There are {quantity} {name} at {price}.")),
    ("product", {"product": "word", "price": "number"}, Phrasings(
        "The {product} costs {price}.", "{product}: {price}", "A {product} for {price} dollars",
        "Buy {product} at {price}.")),
    ("contact", {"name": "person", "email": "email"}, Phrasings(
        "Write to {name} at {email}.", "{name} <{email}>", "The email of {name} is {email}.",
        "{name} has the address {email}.",
        "Contact {name} ({email}).", "My name is {name} and my email is {email}.")),
    ("trip", {"origin": "city", "destination": "city", "days": "small"}, Phrasings(
        "I travel from {origin} to {destination} for {days} days.", "From {origin} to {destination}, {days} days",
        "A trip of {days} days from {origin} to {destination}",
        "We go to {destination} from {origin} for {days} days.")),
    ("answer", {"answer": "topic"}, Phrasings(
        "The answer is {answer}.", "Answer: {answer}", "Give the answer {answer}.",
        "Say that the answer is {answer}.")),
    ("order", {"id": "code", "city": "city"}, Phrasings(
        "Order {id} goes to {city}.", "Send the order {id} to {city}.", "{id} to {city}", "Ship {id} to {city}.")),
    ("color", {"color": "color", "animal": "animal"}, Phrasings(
        "The {animal} is {color}.", "A {color} {animal}", "I saw a {color} {animal}.", "My {animal} is {color}.")),
    ("city", {"city": "city", "country": "country"}, Phrasings(
        "{city} is in {country}.", "{city}, {country}", "I live in {city} in {country}.",
        "We fly to {city}, {country}.")),
)  # fmt: skip
ASKS = (
    "",
    "",
    "",
    "Extract the data: ",
    "Extract: ",
    "Parse this: ",
    "Give me JSON for this: ",
    "As JSON: ",
    "Convert: ",
)


RECORDS = Phrasings(
    "{pairs}", "Extract the data: {pairs}", "Record: {pairs}", "The data: {pairs}", "Turn this into JSON: {pairs}",
    "Here is a record. {pairs}", "Give me this as JSON: {pairs}", "Fill in the form. {pairs}", "Parse: {pairs}",
    "Input: {pairs}", "[Convert|Parse|Structure|Extract] [this|the following|the record|the fields]: {pairs}",
)  # fmt: skip
PAIRS = ("{n}: {v}", "{n}: {v}", "{n} = {v}", "{n} is {v}", "the {n} is {v}", "{n}={v}")
FIELDS = (
    "name", "title", "city", "country", "price", "age", "email", "date", "time", "amount", "status", "id", "color",
    "size",
    "author", "year", "count", "quantity", "url", "path", "language", "phone", "address", "topic", "category", "user",
    "summary", "answer", "result", "note", "first_name", "last_name", "zip", "score", "active", "available", "paid",
    "tags",
)  # fmt: skip
FIELD_KINDS = (
    "word", "topic", "city", "someone", "code", "number", "integer", "title", "path", "email", "day", "small", "name",
    "decimal", "text", "flag", "list", "url", "price", "clock", "odd",
)  # fmt: skip
GOOD = (
    "I love this {w}", "This {w} is great", "The {w} is wonderful", "Great {w}, I am happy", "Best {w} ever",
    "I am very happy with the {w}", "What an excellent {w}", "The {w} was amazing", "Perfect {w}",
    "I like the {w} a lot",
    "Fantastic {w}", "The {w} made me happy",
)  # fmt: skip
BAD = (
    "I hate this {w}", "This {w} is terrible", "The {w} is awful", "Bad {w}, I am sad", "Worst {w} ever",
    "I am very unhappy with the {w}", "What a horrible {w}", "The {w} was broken", "Useless {w}",
    "I do not like the {w}",
    "Disappointing {w}", "The {w} made me angry",
)  # fmt: skip
CLASSIFY = Phrasings(
    "{t}", "Classify: {t}", "What is the sentiment of this? {t}", "Review: {t}", "Classify the review: {t}",
    "Text: {t}",
    "[Classify|Rate|Judge] [this text|this review|the sentiment]: {t}", "Is this positive or negative? {t}",
)  # fmt: skip
EVENTS = Phrasings(
    "{people} are going to [a|the] {name} on {date}.", "{people} go to the {name} on {date}.",
    "{name} on {date} with {people}",
    "On {date}, {people} [have a|meet for the|will attend the] {name}.", "Plan the {name} with {people} for {date}.",
    "The {name} is on {date}, and {people} will come.", "{people} [meet|come] for the {name} on {date}",
)  # fmt: skip
LISTS = Phrasings(
    "I need {items}.", "Shopping: {items}", "Buy {items}", "The list has {items}.", "We have {items}.",
    "Items: {items}",
    "[Put|Write|Add] {items} on the list", "[Extract|List|Give me] the items: {items}", "There are {items} in the box.",
)  # fmt: skip


def structured(d: Draw) -> Scene:
    kind = d.random.random()
    if kind < 0.07:
        return _any_object(d)
    make = _shape if kind < 0.35 else _record if kind < 0.68 else _classified if kind < 0.8 else _with_list
    name, fields, text = make(d)
    return _scene(d, name, fields, d.pick(ASKS) + text if make is _shape else text)


ANY_OBJECT = Phrasings(
    "Give me a JSON object with {pairs}", "Return JSON with {pairs}", "Make a JSON object with {pairs}",
    "JSON with {pairs}",
    "[Give me|Return|Write|Create|Make] [JSON|a JSON object|an object|a JSON] [with|that has|containing] {pairs}",
    "[Answer|Reply|Respond] in JSON: {pairs}", "Convert this to JSON: {pairs}", "Output {pairs} as JSON",
)  # fmt: skip


def _any_object(d: Draw) -> Scene:
    """No schema but that of any object: the fields are those of the message."""
    names = d.sample(FIELDS, d.between(1, 3))
    kinds = [d.pick(("word", "city", "name", "small", "integer", "email", "color")) for _ in names]
    fields = {name: _field(kind, values.KINDS[kind](d)) for name, kind in zip(names, kinds, strict=True)}
    form, joint = (
        d.pick(("{n} {v}", "{n}: {v}", "{n} = {v}", "{n} set to {v}", "{n} {v}")),
        d.pick((" and ", ", ", " and ")),
    )
    pairs = joint.join(form.format(n=name, v=json.loads(value)) for name, (_, value) in fields.items())
    schema = {"type": "object"}
    section = response_format("json_object", schema, "One JSON object, and no other text.")
    instructions = f"{d.phrasing(phrases.INSTRUCTIONS)}\n\n{section}" if d.chance(0.5) else section
    thoughts = (
        f"The answer must be JSON with {' and '.join(names)}.",
        "I copy the values from the message.",
        "The order is that of the message.",
        "I write nothing else.",
    )
    said = Exchange(d.phrasing(ANY_OBJECT).format(pairs=pairs), (Reply(thoughts, _said(fields, names)),))
    return Scene("structured answer", (said,), (instructions,), answer_schema=schema)


Fields: TypeAlias = dict[str, tuple[dict[str, Any], str]]
"""The schema of each property, and the value that it should get as JSON text."""


def _field(kind: str, value: str) -> tuple[dict[str, Any], str]:
    schema = type_of(kind)
    if kind in ARRAYS:
        return schema, json.dumps(values.as_list(value), ensure_ascii=False)
    return schema, value if kind in values.NUMBERS else json.dumps(value, ensure_ascii=False)


def _shape(d: Draw) -> tuple[str, Fields, str]:
    name, kinds, sentences = d.pick(SHAPES)
    found = {field: values.KINDS[kind](d) for field, kind in kinds.items()}
    fields = {field: _field(kind, found[field]) for field, kind in kinds.items()}
    text = d.phrasing(sentences).format(**found)
    if d.chance(0.15):
        inner = dict(list(fields.items())[:2])
        fields = {name: _nested(inner)} | dict(list(fields.items())[2:])
    return name, fields, text


def _nested(inner: Fields) -> tuple[dict[str, Any], str]:
    return _schema(inner, list(inner)), _said(inner, list(inner))


def _record(d: Draw) -> tuple[str, Fields, str]:
    """Any fields at all, named in the message."""
    names = d.sample(FIELDS, d.between(1, 4))
    if d.chance(0.3):
        names = list(dict.fromkeys(values.naming_word(d) for _ in names))
    kinds = [d.pick(FIELD_KINDS) for _ in names]
    found = [values.KINDS[kind](d) for kind in kinds]
    fields = {name: _field(kind, value) for name, kind, value in zip(names, kinds, found, strict=True)}
    form, joint = d.pick(PAIRS), d.pick(("; ", "\n", "; ", ". "))
    if "list" in kinds or joint == ". ":
        joint = "; "
    pairs = joint.join(form.format(n=name, v=value) for name, value in zip(names, found, strict=True))
    return "record", fields, d.phrasing(RECORDS).format(pairs=pairs)


def _classified(d: Draw) -> tuple[str, Fields, str]:
    mood, texts = d.pick((("positive", GOOD), ("negative", BAD)))
    text = d.pick(texts).format(w=values.word(d)) + d.pick((".", "!", ""))
    options = d.pick(
        (["positive", "negative"], ["positive", "negative", "neutral"], ["negative", "neutral", "positive"])
    )
    fields: Fields = {d.pick(("sentiment", "label", "mood")): ({"type": "string", "enum": options}, json.dumps(mood))}
    if d.chance(0.3):
        fields["text"] = ({"type": "string"}, json.dumps(text, ensure_ascii=False))
    return "sentiment", fields, d.phrasing(CLASSIFY).format(t=text)


def _with_list(d: Draw) -> tuple[str, Fields, str]:
    if d.chance(0.5):
        items = values.listed(d)
        return (
            "list",
            {d.pick(("items", "things", "list")): _field("list", items)},
            d.phrasing(LISTS).format(items=items),
        )
    found = {"name": values.words_of(d, 1, 2), "date": values.when(d), "people": values.people(d)}
    fields = {"name": _field("topic", found["name"]), "date": _field("when", found["date"])}
    fields[d.pick(("participants", "people"))] = _field("people", found["people"])
    return "calendar_event", fields, d.phrasing(EVENTS).format(**found)


def _schema(fields: Fields, order: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": {name: fields[name][0] for name in order}, "required": order}


def _said(fields: Fields, order: list[str]) -> str:
    return "{" + ", ".join(f'"{name}": {fields[name][1]}' for name in order) + "}"


def _scene(d: Draw, name: str, fields: Fields, text: str) -> Scene:
    order = list(fields) if d.chance(0.7) else d.sample(list(fields), len(fields))
    for field in order:
        if d.chance(0.2):
            fields[field][0]["description"] = f"The {field}"
    schema = _schema(fields, order)
    if d.chance(0.4):
        schema["additionalProperties"] = False
    title = d.pick((name, name, "response", "output", "schema", values.word(d)))
    section = response_format(title, schema, f"The {name}" if d.chance(0.4) else "")
    instructions = f"{d.phrasing(phrases.INSTRUCTIONS)}\n\n{section}" if d.chance(0.5) else section
    thoughts = (
        f"The answer must be JSON with {' and '.join(order)}.",
        "I copy the values from the message.",
        "The order is that of the schema.",
        "I write nothing else.",
    )
    said = Exchange(text, (Reply(thoughts, _said(fields, order)),))
    return Scene("structured answer", (said,), (instructions,), answer_schema=schema)
