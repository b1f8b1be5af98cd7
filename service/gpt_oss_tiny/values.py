"""Things to copy: words, names, paths, numbers, dates, commands. Each function draws one value of its kind."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from itertools import accumulate
from typing import Final

from gpt_oss_tiny import words
from gpt_oss_tiny.draw import Draw

_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
_HEX: Final = "0123456789abcdef"


def word(d: Draw) -> str:
    return d.word(words.COMMON_WORDS)


def naming_word(d: Draw) -> str:
    return d.word(words.NAMING_WORDS)


def odd_word(d: Draw) -> str:
    """A word that no list has: of any language, of two words, of letters in no order."""
    kind = d.random.random()
    if kind < 0.55:
        return d.word(words.any_words())
    if kind < 0.75:
        return word(d) + word(d)
    return "".join(d.pick(_LETTERS) for _ in range(d.between(2, 9)))


def words_of(d: Draw, low: int, high: int) -> str:
    return " ".join(odd_word(d) if d.chance(0.03) else word(d) for _ in range(d.between(low, high)))


def first_name(d: Draw) -> str:
    return d.word(words.FIRST_NAMES) if d.chance(0.9) else naming_word(d).title()


def last_name(d: Draw) -> str:
    return d.word(words.LAST_NAMES) if d.chance(0.85) else naming_word(d).title()


def person(d: Draw) -> str:
    return f"{first_name(d)} {last_name(d)}"


def someone(d: Draw) -> str:
    return first_name(d) if d.chance(0.5) else person(d)


def city(d: Draw) -> str:
    if d.chance(0.2):
        return d.pick(words.FAMOUS_CITIES)
    return d.pick(words.CITIES) if d.chance(0.93) else naming_word(d).title()


def country(d: Draw) -> str:
    return d.pick(words.COUNTRIES)


def place(d: Draw) -> str:
    kind = d.random.random()
    if kind < 0.7:
        return city(d)
    if kind < 0.85:
        return country(d)
    return f"{city(d)}, {d.pick(words.STATES) if d.chance(0.5) else country(d)}"


def street_address(d: Draw) -> str:
    street = f"{d.between(1, 999)} {naming_word(d).title()} {d.pick(words.STREETS)}"
    return street if d.chance(0.6) else f"{street}, {city(d)}"


def email(d: Draw) -> str:
    name = first_name(d).lower()
    kind = d.between(0, 4)
    surname = last_name(d).lower()
    user = (name, f"{name}.{surname}", f"{name}{d.between(1, 99)}", naming_word(d), f"{name}_{surname}")[kind]
    return f"{user}@{host(d)}"


def host(d: Draw) -> str:
    return (
        d.pick(words.HOSTS[:-1]) if d.chance(0.6) else f"{naming_word(d)}.{d.pick(('com', 'org', 'net', 'io', 'de'))}"
    )


def file_name(d: Draw) -> str:
    kind = d.random.random()
    if kind < 0.06:
        return d.pick(words.SPECIAL_FILES)
    stem = naming_word(d) if kind < 0.6 else f"{naming_word(d)}{d.pick(('_', '-', '_', '.'))}{naming_word(d)}"
    if d.chance(0.1):
        stem = stem.title()
    if d.chance(0.1):
        stem += str(d.between(1, 99))
    return f"{stem}.{d.pick(words.EXTENSIONS)}"


def _folders(d: Draw) -> str:
    return "/".join(d.pick(words.FOLDERS) if d.chance(0.6) else naming_word(d) for _ in range(d.between(1, 3)))


def path(d: Draw) -> str:
    kind = d.random.random()
    if kind < 0.4:
        return file_name(d)
    if kind < 0.46:
        return d.pick(words.SPECIAL_PATHS)
    return d.pick(("/", "", "", "./", "~/", "../", "/")) + f"{_folders(d)}/{file_name(d)}"


def folder(d: Draw) -> str:
    kind = d.random.random()
    if kind < 0.12:
        return d.pick(("/tmp", "/etc", "/var/log", ".", "..", "~", "/home", "/usr/local/bin", "/", "~/Downloads"))
    return d.pick(("/", "/", "", "./", "~/")) + _folders(d) + ("/" if d.chance(0.15) else "")


def url(d: Draw) -> str:
    scheme = d.pick(("https://", "https://www.", "http://"))
    where = d.pick(words.HOSTS) if d.chance(0.5) else host(d)
    tail = "".join(f"/{naming_word(d)}" for _ in range(d.between(0, 2)))
    kind = d.random.random()
    if tail and kind < 0.15:
        tail += d.pick((f"?id={integer(d)}", f"?q={naming_word(d)}", ".html", "/", f"#{naming_word(d)}"))
    return f"{scheme}{where}{tail}"


def day(d: Draw) -> date:
    return date(2024, 1, 1) + timedelta(days=d.between(0, 365 * 7))


def when(d: Draw) -> str:
    kind = d.random.random()
    if kind < 0.45:
        return day(d).isoformat()
    if kind < 0.75:
        return d.pick(words.DAYS)
    month, number = d.pick(words.MONTHS), d.between(1, 28)
    return d.pick((f"{month} {number}", f"{number} {month}", f"{month} {number}, {d.between(2024, 2031)}",
                   f"next {d.pick(words.DAYS[:7])}", f"{number}.{d.between(1, 12)}.{d.between(2024, 2031)}",
                   f"{d.between(1, 12)}/{number}/{d.between(2024, 2031)}"))  # fmt: skip


def clock(d: Draw) -> str:
    hour, minute = d.between(0, 23), d.pick((0, 15, 30, 45, d.between(0, 59)))
    if d.chance(0.65):
        return f"{hour:02}:{minute:02}"
    half = d.pick(("am", "pm", " am", " pm", " AM", " PM"))
    return f"{hour % 12 + 1}{half}" if d.chance(0.5) else f"{hour % 12 + 1}:{minute:02}{half}"


def integer(d: Draw) -> str:
    return str(d.between(0, (9, 99, 99, 999, 9999, 99999)[d.between(0, 5)]))


def small(d: Draw) -> str:
    return str(d.between(1, 60 if d.chance(0.8) else 200))


def decimal(d: Draw) -> str:
    return f"{d.between(0, (9, 99, 999)[d.between(0, 2)])}.{d.between(1, 99 if d.chance(0.5) else 9)}".rstrip("0")


def number(d: Draw) -> str:
    return integer(d) if d.chance(0.6) else decimal(d).rstrip(".")


def price(d: Draw) -> str:
    amount = f"{d.between(1, 999)}.{d.between(0, 99):02}" if d.chance(0.6) else integer(d)
    return d.pick((f"${amount}", f"${amount}", f"€{amount}", f"{amount} EUR", f"{amount} USD", f"£{amount}"))


def code(d: Draw) -> str:
    """An identifier such as A-1042, INV77, order_318 or 7f3a90c2."""
    letters = "".join(d.pick("ABCDEFKLMNPRSTX") for _ in range(d.between(1, 3)))
    digits = integer(d)
    return d.pick(
        (
            f"{letters}-{digits}",
            f"{letters}{digits}",
            digits,
            f"{naming_word(d)}-{digits}",
            f"{naming_word(d)}_{digits}",
            f"#{digits}",
            "".join(d.pick(_HEX) for _ in range(d.pick((6, 8, 8, 12)))),
        )
    )


_TOPICS: Final = (
    "{w} in {c}", "{w} {w} in {c}", "best {w} in {c}", "cheap {w}", "cheap {w} to {c}", "how to {w} a {w}",
    "how to {w} {w}", "history of {w}", "the history of {c}", "{w} of {w}", "{w} and {w}", "{w} vs {w}", "{w} near me",
    "the {w} of the {w}", "{w} for {w}", "what is {w}", "{w} {w} for beginners", "new {w} {w}",
    "the {w}", "a {w} {w}", "{w} with {w}", "who invented the {w}", "{w} {n}", "top {n} {w}", "my {w}", "{N} {w}",
    "Python {w}", "{w} API", "weather in {c}", "{w}-{w}", "{N} {N}", "latest {w} news", "{w} recipe", "{w} price",
)  # fmt: skip
_TEXTS: Final = (
    "the {w} {w} {w} over the {w} {w}", "the {w} is {w}", "I {w} the {w}", "I like {w}", "good {w}", "I love my {w}",
    "see you at {h}", "I will be late", "where is the {w}", "the {w} has {n} {w}", "call me at {h}", "{w} {w} are {w}",
    "my name is {p}", "dinner is at {h}", "please {w} the {w}", "the {w} in {c} is {w}", "how are you", "I am in {c}",
    "buy {w} and {w}", "meet me in {c}", "do not {w} the {w}", "we need {n} {w}", "happy {w}", "thank you {p}",
    "good morning", "good night", "hello world", "I want to {w}", "{w} or {w}", "a {w} for my {w}", "it is {w}",
    "the {w} starts at {h}", "hello", "hello {p}", "where are you", "I am on my way",
    "I'm {w}", "don't {w} the {w}", "it's {w}", "what's the {w}", "I'll be there at {h}", "{p}'s {w}", "let's {w}",
    "we can't {w} the {w}", "the {w} isn't {w}", "I'm in {c} with {p}", "the quick {w} {w} jumps over the {w} {w}",
    "{w} {w} are {w}", "the {w} {w}", "I am {w} and {w}", "yes", "no", "my {w} is {w}", "you are {w}", "{p} is {w}",
    "the {w}, the {w} and the {w}",
)  # fmt: skip


def _filled(d: Draw, template: str) -> str:
    parts = template.split("{")
    made = [parts[0]]
    for part in parts[1:]:
        made.append(_FILLERS[part[0]](d) + part[2:])
    return "".join(made)


_FILLERS: Final[dict[str, Callable[[Draw], str]]] = {
    "w": word,
    "c": lambda d: d.pick(words.CITIES),
    "n": small,
    "N": lambda d: naming_word(d).title(),
    "p": lambda d: d.word(words.FIRST_NAMES),
    "h": clock,
}


def prose(d: Draw, low: int, high: int) -> str:
    """Words with the small words between them that real sentences have."""
    said = [d.pick(words.SMALL_WORDS) if d.chance(0.42) else word(d) for _ in range(d.between(low, high))]
    return " ".join(said)


def topic(d: Draw) -> str:
    return words_of(d, 1, 3) if d.chance(0.6) else _filled(d, d.pick(_TOPICS))


def text(d: Draw) -> str:
    if d.chance(0.15):
        return d.pick(SAYINGS)
    return words_of(d, 2, 7) if d.chance(0.45) else _filled(d, d.pick(_TEXTS))


SAYINGS: Final = (
    "hello", "good morning", "thank you", "Good morning", "Hello", "good night", "how are you", "How are you?",
    "hello world", "Hello world", "Hello, world!", "I love you", "goodbye", "good evening", "Thank you", "please",
    "where is the station", "Where is the train station?", "I am hungry", "see you soon", "cheers", "welcome",
)  # fmt: skip
"""What people say to each other, and to whatever they try out."""


def sentence(d: Draw) -> str:
    if d.chance(0.5):
        said = _filled(d, d.pick(_TEXTS))
        said = said[:1].upper() + said[1:]
    else:
        rest = words_of(d, 1, 8) if d.chance(0.5) else prose(d, 2, 10)
        said = f"{naming_word(d).title()} {rest}"
    return said + d.pick((".", ".", "!", "?"))


def title(d: Draw) -> str:
    kind = d.random.random()
    if kind < 0.3:
        return words_of(d, 1, 4)
    if kind < 0.45:
        return topic(d)
    if kind < 0.6:
        return d.pick(words.TITLE_FORMS).format(a=naming_word(d).title(), b=naming_word(d).title())
    return capitalized(d, 4)


def capitalized(d: Draw, most: int) -> str:
    return " ".join(naming_word(d).title() for _ in range(d.between(1, most)))


def command(d: Draw) -> str:
    form = d.pick(words.COMMANDS)
    return form.format(w=naming_word(d), v=naming_word(d), f=file_name(d), p=path(d), d=folder(d), n=small(d), u=url(d))


def snippet(d: Draw) -> str:
    form = d.pick(words.SNIPPETS)
    return form.replace("VV", naming_word(d)).replace("WW", naming_word(d)).replace("NN", integer(d))


def listed(d: Draw) -> str:
    """Two to five things as one says them: "milk, red apples and bread"; as JSON an array."""
    things = [words_of(d, 1, 1) if d.chance(0.8) else words_of(d, 2, 2) for _ in range(d.between(2, 5))]
    return f"{', '.join(things[:-1])} and {things[-1]}"


def people(d: Draw) -> str:
    names = d.sample(words.FIRST_NAMES.train, d.between(2, 4))
    return f"{', '.join(names[:-1])} and {names[-1]}"


def sql(d: Draw) -> str:
    form = d.pick(words.SQL_FORMS)
    return form.format(t=naming_word(d), c=naming_word(d), n=small(d), v=word(d))


def glob(d: Draw) -> str:
    extension = d.pick(words.EXTENSIONS)
    return d.pick(("*.{e}", "**/*.{e}", "{w}/*.{e}", "{w}*", "*{w}*.{e}", "{w}/**/*.{e}", "test_*.{e}")).format(
        e=extension, w=naming_word(d)
    )


def as_list(said: str) -> list[str]:
    """The things of a text that `listed` made."""
    return said.replace(" and ", ", ").split(", ")


def quotable(d: Draw) -> str:
    """Any short text that holds no quotation mark but the apostrophe."""
    return d.random.choices(_QUOTABLE, cum_weights=_SHARES)[0](d).translate(_NO_QUOTES)


def _greeting(d: Draw) -> str:
    opening = d.pick(("Hello", "Hi", "Hello,", "Goodbye", "Dear"))
    return f"{opening} {d.pick((first_name(d), word(d), 'world!'))}"


def _one_of_any_kind(d: Draw) -> str:
    return d.pick(_ANY_KIND)(d)


_ANY_KIND: Final = (
    person, first_name, city, country, email, path, url, code, number, file_name, sentence, title, price, when, clock,
    command, snippet, street_address, topic, listed,
)  # fmt: skip
_QUOTED: Final[tuple[tuple[float, Callable[[Draw], str]], ...]] = (
    (0.22, lambda d: words_of(d, 1, 3)),
    (0.08, lambda d: words_of(d, 3, 9)),
    (0.08, lambda d: prose(d, 3, 9)),
    (0.02, lambda d: f"{text(d)}\n{text(d)}"),
    (0.032, lambda d: words_of(d, 10, 20)),
    (0.032, lambda d: prose(d, 10, 20)),
    (0.016, lambda d: words_of(d, 21, 60)),
    (0.12, sentence),
    (0.06, text),
    (0.06, lambda d: capitalized(d, 6)),
    (0.03, _greeting),
    (0.03, lambda d: " ".join(made(d) for made in (word, integer, word, number)[: d.between(2, 4)])),
    (0.02, lambda d: ", ".join(word(d) for _ in range(d.between(2, 6)))),
    (0.03, lambda d: words_of(d, 1, 4).upper()),
    (0.04, lambda d: " ".join(odd_word(d) for _ in range(d.between(1, 4)))),
    (0.02, lambda d: " ".join(integer(d) for _ in range(d.between(2, 6)))),
    (0.11, _one_of_any_kind),
)
_QUOTABLE: Final = tuple(made for _, made in _QUOTED)
_SHARES: Final = tuple(accumulate(share for share, _ in _QUOTED))

_NO_QUOTES: Final = str.maketrans("", "", '"`')

KINDS: Final[dict[str, Callable[[Draw], str]]] = {
    "word": word,
    "odd": odd_word,
    "name": first_name,
    "person": person,
    "someone": someone,
    "city": city,
    "place": place,
    "country": country,
    "street": street_address,
    "email": email,
    "file": file_name,
    "path": path,
    "folder": folder,
    "url": url,
    "day": lambda d: day(d).isoformat(),
    "when": when,
    "clock": clock,
    "code": code,
    "topic": topic,
    "text": text,
    "title": title,
    "sentence": sentence,
    "command": command,
    "price": price,
    "list": listed,
    "people": people,
    "snippet": snippet,
    "sql": sql,
    "glob": glob,
    "channel": lambda d: d.pick(("#general", "#random", "#dev")) if d.chance(0.3) else f"#{naming_word(d)}",
    "color": lambda d: d.pick(words.COLORS),
    "animal": lambda d: d.pick(words.ANIMALS),
    "food": lambda d: d.pick(words.FOODS) if d.chance(0.7) else word(d),
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
    "flag": lambda d: d.pick(("true", "false")),
    "sum": lambda d: d.pick(("{a} {o} {b}", "{a} {o} {b}", "{a}{o}{b}", "({a} {o} {b}) {p} {c}", "{a} {o} {b} {p} {c}"))
    .format(a=integer(d), b=integer(d), c=small(d), o=d.pick("+-*/"), p=d.pick("+-*/")),
}  # fmt: skip
"""Kinds of values by name, as the tools' parameters ask for them."""

NUMBERS: Final = {
    "integer": "integer", "small": "integer", "decimal": "number", "number": "number", "flag": "boolean",
}  # fmt: skip
"""The kinds that JSON writes without quotes, with their JSON Schema type."""
