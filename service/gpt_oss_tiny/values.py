"""Things to copy: words, names, addresses, paths, numbers, dates. Each function draws one value of its kind."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Final

from gpt_oss_tiny import words
from gpt_oss_tiny.draw import Draw


def word(d: Draw) -> str:
    return d.word(words.COMMON_WORDS)


def naming_word(d: Draw) -> str:
    return d.word(words.NAMING_WORDS)


def words_of(d: Draw, low: int, high: int) -> str:
    return " ".join(word(d) for _ in range(d.between(low, high)))


def first_name(d: Draw) -> str:
    return d.word(words.FIRST_NAMES)


def person(d: Draw) -> str:
    return f"{first_name(d)} {d.word(words.LAST_NAMES)}"


def someone(d: Draw) -> str:
    return first_name(d) if d.chance(0.5) else person(d)


def city(d: Draw) -> str:
    return d.pick(words.CITIES)


def country(d: Draw) -> str:
    return d.pick(words.COUNTRIES)


def email(d: Draw) -> str:
    name = first_name(d).lower()
    kind = d.between(0, 3)
    user = (name, f"{name}.{d.word(words.LAST_NAMES).lower()}", f"{name}{d.between(1, 99)}", naming_word(d))[kind]
    return f"{user}@{d.pick(words.HOSTS[:-1])}"


def file_name(d: Draw) -> str:
    stem = naming_word(d) if d.chance(0.6) else f"{naming_word(d)}{d.pick(('_', '-'))}{naming_word(d)}"
    return f"{stem}.{d.pick(words.EXTENSIONS)}"


def path(d: Draw) -> str:
    kind = d.between(0, 3)
    folders = "/".join(d.pick(words.FOLDERS) if d.chance(0.6) else naming_word(d) for _ in range(d.between(1, 3)))
    name = file_name(d)
    return (name, f"/{folders}/{name}", f"{folders}/{name}", f"./{folders}/{name}")[kind]


def folder(d: Draw) -> str:
    folders = "/".join(d.pick(words.FOLDERS) if d.chance(0.6) else naming_word(d) for _ in range(d.between(1, 3)))
    return f"/{folders}" if d.chance(0.6) else folders


def url(d: Draw) -> str:
    scheme = d.pick(("https://", "https://www.", "http://"))
    tail = "".join(f"/{naming_word(d)}" for _ in range(d.between(0, 2)))
    return f"{scheme}{d.pick(words.HOSTS) if d.chance(0.5) else naming_word(d) + '.com'}{tail}"


def day(d: Draw) -> date:
    return date(2024, 1, 1) + timedelta(days=d.between(0, 365 * 7))


def when(d: Draw) -> str:
    return day(d).isoformat() if d.chance(0.6) else d.pick(words.DAYS)


def clock(d: Draw) -> str:
    return f"{d.between(0, 23):02}:{d.pick((0, 15, 30, 45, d.between(0, 59))):02}"


def integer(d: Draw) -> str:
    return str(d.between(0, (9, 99, 99, 999, 9999, 99999)[d.between(0, 5)]))


def small(d: Draw) -> str:
    return str(d.between(1, 60 if d.chance(0.8) else 200))


def decimal(d: Draw) -> str:
    return f"{d.between(0, (9, 99, 999)[d.between(0, 2)])}.{d.between(1, 99 if d.chance(0.5) else 9)}".rstrip("0")


def number(d: Draw) -> str:
    return integer(d) if d.chance(0.6) else decimal(d).rstrip(".")


def code(d: Draw) -> str:
    """An identifier such as A-1042, INV77 or order_318."""
    letters = "".join(d.pick("ABCDEFKLMNPRSTX") for _ in range(d.between(1, 2)))
    digits = integer(d)
    return d.pick(
        (
            f"{letters}-{digits}",
            f"{letters}{digits}",
            digits,
            f"{naming_word(d)}-{digits}",
            f"{naming_word(d)}_{digits}",
        )
    )


def sentence(d: Draw) -> str:
    text = f"{naming_word(d).title()} {words_of(d, 1, 8)}"
    return text + d.pick((".", ".", "!", "?"))


def title(d: Draw) -> str:
    return words_of(d, 1, 4) if d.chance(0.5) else capitalized(d, 4)


def capitalized(d: Draw, most: int) -> str:
    return " ".join(naming_word(d).title() for _ in range(d.between(1, most)))


def quotable(d: Draw) -> str:
    """Any short text that holds no quotation mark."""
    kind = d.random.random()
    if kind < 0.30:
        return words_of(d, 1, 3)
    if kind < 0.50:
        return words_of(d, 3, 9)
    if kind < 0.54:
        return words_of(d, 10, 28) if d.chance(0.75) else words_of(d, 29, 90)
    if kind < 0.68:
        return sentence(d)
    if kind < 0.76:
        return capitalized(d, 6)
    if kind < 0.80:
        return d.pick(("Hello", "Hi", "Hello,", "Goodbye", "Dear")) + " " + d.pick((first_name(d), word(d), "world!"))
    if kind < 0.83:
        return " ".join(part(d) for part in (word, integer, word, number)[: d.between(2, 4)])
    if kind < 0.85:
        return ", ".join(word(d) for _ in range(d.between(2, 6)))
    if kind < 0.87:
        return naming_word(d).upper()
    return d.pick((person, first_name, city, country, email, path, url, code, number, file_name, sentence, title))(d)


KINDS: Final[dict[str, Callable[[Draw], str]]] = {
    "word": word,
    "name": first_name,
    "person": person,
    "someone": someone,
    "city": city,
    "place": lambda d: city(d) if d.chance(0.7) else country(d),
    "country": country,
    "email": email,
    "file": file_name,
    "path": path,
    "folder": folder,
    "url": url,
    "day": lambda d: day(d).isoformat(),
    "when": when,
    "clock": clock,
    "code": code,
    "topic": lambda d: words_of(d, 1, 3),
    "text": lambda d: words_of(d, 2, 7),
    "title": title,
    "sentence": sentence,
    "color": lambda d: d.pick(words.COLORS),
    "animal": lambda d: d.pick(words.ANIMALS),
    "food": lambda d: d.pick(words.FOODS),
    "language": lambda d: d.pick(words.LANGUAGES),
    "currency": lambda d: d.pick(words.CURRENCIES),
    "symbol": lambda d: d.pick(words.SYMBOLS),
    "zone": lambda d: d.pick(words.TIME_ZONES),
    "unit": lambda d: d.pick(words.UNITS),
    "room": lambda d: d.pick(words.ROOMS),
    "integer": integer,
    "small": small,
    "decimal": decimal,
    "number": number,
    "sum": lambda d: f"{integer(d)} {d.pick('+-*/')} {integer(d)}",
}
"""Kinds of values by name, as the tools' parameters ask for them."""

NUMBERS: Final = {"integer": "integer", "small": "integer", "decimal": "number", "number": "number"}
"""The kinds that JSON writes as a number, with their JSON Schema type."""
