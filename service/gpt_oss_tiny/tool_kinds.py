"""What a kind of tool is: its names, its parameters and the requests that it serves. The tables are in `tools`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from gpt_oss_tiny.draw import Phrasings


@dataclass(frozen=True)
class Slot:
    """A parameter: the names it may have, the kind of its values, descriptions (with {e} for an example value)."""

    names: tuple[str, ...]
    kind: str
    descriptions: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Domain:
    """A kind of tool. Requests name their slots by key; a slot that some request leaves out is optional."""

    about: str
    names: tuple[str, ...]
    descriptions: tuple[str, ...]
    slots: dict[str, Slot]
    requests: Phrasings

    @cached_property
    def always(self) -> frozenset[str]:
        """The slots that every request fills."""
        templates = self.requests.train + self.requests.held_out
        return frozenset(key for key in self.slots if all("{" + key + "}" in text for text in templates))


CITY = Slot(
    ("city", "location", "place", "city_name", "town"),
    "place",
    ("The city", "The city, e.g. {e}", "Name of the city", "The city and country, e.g. {e}", "e.g. {e}", "City name",
     "The city and state, e.g. San Francisco, CA", "The location to look up", "City, for example {e}"),
)  # fmt: skip
UNIT = Slot(
    ("unit", "units", "format", "scale"), "", ("The temperature unit", "Unit to use", "The unit"),
    ("celsius", "fahrenheit"),
)  # fmt: skip
QUERY = Slot(("query", "q", "search", "term", "search_query", "text", "keywords"), "topic",
             ("What to search for", "The search query", "Search terms", "The query", "Keywords, e.g. {e}"))  # fmt: skip
PATH = Slot(("path", "file", "file_path", "filename", "file_name", "name"), "path",
            ("The path", "Path of the file", "The file to use", "File path, e.g. {e}", "The absolute path",
             "The absolute path to the file", "Path relative to the working directory"))  # fmt: skip
FOLDER = Slot(("path", "directory", "folder", "dir"), "folder", ("The folder", "The directory", "Path, e.g. {e}"))
TEXT = Slot(("text", "content", "message", "body", "input"), "text", ("The text", "What to use", "The content"))
TO = Slot(("to", "recipient", "address", "email", "to_email"), "email",
          ("The recipient", "Email address, e.g. {e}", "Who gets it", "Address of the recipient"))  # fmt: skip
WHO = Slot(("name", "user", "person", "username", "user_name", "contact"), "someone",
           ("The name", "Name of the person", "Who, e.g. {e}", "The user's name"))  # fmt: skip
DATE = Slot(("date", "day", "on", "when"), "when", ("The date", "The day, e.g. {e}", "Date as YYYY-MM-DD", "When"))
TIME = Slot(("time", "at", "start", "start_time"), "clock", ("The time", "The time, e.g. {e}", "Time of day, HH:MM"))
TITLE = Slot(("title", "name", "subject", "summary"), "title", ("The title", "A short title", "Title, e.g. {e}"))
AMOUNT = Slot(("amount", "value", "quantity", "number"), "number", ("The amount", "How much", "Amount, e.g. {e}"))
A = Slot(("a", "x", "first", "left", "num1", "number1"), "number", ("The first number", "First operand"))
B = Slot(("b", "y", "second", "right", "num2", "number2"), "number", ("The second number", "Second operand"))
MINUTES = Slot(("minutes", "duration", "time", "length", "duration_minutes"), "small",
               ("Minutes", "How many minutes", "Duration in minutes", "Length in minutes, e.g. {e}"))  # fmt: skip
CODE = Slot(("id", "order_id", "number", "reference", "code", "order"), "code",
            ("The id", "Identifier, e.g. {e}", "The number", "Reference of the order"))  # fmt: skip
ROOM = Slot(("room", "location", "area", "place"), "room", ("The room", "Which room, e.g. {e}", "Room name"))
LANGUAGE = Slot(("language", "target", "to", "target_language", "lang"), "language",
                ("The language", "Target language, e.g. {e}", "The language to translate to"))  # fmt: skip
