"""Answers as JSON: the developer message ends in a schema, and the values come from the user's message."""

from __future__ import annotations

import json
from typing import Any

from gpt_oss_tiny import phrases, values
from gpt_oss_tiny.draw import Draw, Phrasings
from gpt_oss_tiny.scene import Exchange, Reply, Scene

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


def structured(d: Draw) -> Scene:
    name, fields, sentences = d.pick(SHAPES)
    found = {field: values.KINDS[kind](d) for field, kind in fields.items()}
    text = d.pick(ASKS) + d.phrasing(sentences).format(**found)
    order = list(fields) if d.chance(0.7) else d.sample(list(fields), len(fields))
    properties: dict[str, Any] = {}
    for field in order:
        properties[field] = {"type": values.NUMBERS.get(fields[field], "string")}
        if d.chance(0.2):
            properties[field]["description"] = f"The {field}"
    schema: dict[str, Any] = {"type": "object", "properties": properties, "required": order}
    if d.chance(0.4):
        schema["additionalProperties"] = False
    section = f"# Response Formats\n\n## {d.pick((name, name, 'response', 'output', 'schema', values.word(d)))}\n\n"
    if d.chance(0.4):
        section += f"// The {name}\n"
    section += json.dumps(schema, separators=(",", ":") if d.chance(0.7) else None)
    instructions = f"{d.phrasing(phrases.INSTRUCTIONS)}\n\n{section}" if d.chance(0.5) else section
    pairs = ((n, found[n] if fields[n] in values.NUMBERS else json.dumps(found[n], ensure_ascii=False)) for n in order)
    said = "{" + ", ".join(f'"{n}": {value}' for n, value in pairs) + "}"
    thoughts = (
        f"The answer must be JSON with {' and '.join(order)}.",
        "I copy the values from the message.",
        "The order is that of the schema.",
        "I write nothing else.",
    )
    return Scene("structured answer", (Exchange(text, (Reply(thoughts, said),)),), (instructions,))
