"""What llguidance says of a grammar that it refuses, in words for whoever sent the schema.

Its messages quote the lines around the fault, and with them whatever the caller wrote there; what is kept names the
keyword and the reason.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from typing import Final

TOO_COMPLEX: Final = "it is too complex to be followed while decoding"

_PLACE: Final = re.compile(r'(?:at \d+\(\d+\): )?(?:failed to compile JSON schema: |failed to parse "%\w+": )?')
_REASONS: Final = {
    "NoExtension": "nothing satisfies it: a '$ref' leads back to itself, or its parts contradict each other",
    "fuel exhausted": TOO_COMPLEX,
    "lexer error": TOO_COMPLEX,
    "Parser Error": TOO_COMPLEX,
    "schema too large": "'allOf', 'anyOf' and 'oneOf' multiply to too many cases",
    "oneOf constraints": "the cases of a 'oneOf' do not exclude each other; use 'anyOf'",
    "anyOf is empty": "'enum' or 'anyOf' has no values",
    "Unable to determine if regex is empty": "its 'pattern's can not all be followed at once",
    "Failed to generate regex for": "the range between 'minimum' and 'maximum' is too large",
}


class KnownFaults:
    """What was found of the grammars or rules that were tried last. Keeps their digests: they may be megabytes long.

    Safe for threads.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[bytes, str] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, text: str) -> str | None:
        """Why it is refused, "" for one that is not, or None if it is not known."""
        key = _digest(text)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
            return self._known.get(key)

    def add(self, text: str, fault: str) -> None:
        with self._lock:
            self._known[_digest(text)] = fault
            if len(self._known) > self._most:
                self._known.popitem(last=False)


def reason(message: str) -> str:
    """Why a grammar is refused, from the library's message; "" for an empty one, which refuses nothing."""
    if not message:
        return ""
    first = _PLACE.sub("", message.splitlines()[0], count=1)
    for beginning, words in _REASONS.items():
        if first.startswith(beginning):
            return words
    if first.startswith("regex parse error"):
        return _of_regex(message)
    return first.rstrip(":") or "it is not valid"


def _of_regex(message: str) -> str:
    """A regular expression is quoted over several lines, the last of which says what is wrong with it."""
    errors = [line.removeprefix("error: ") for line in message.splitlines() if line.startswith("error: ")]
    return ": ".join(["'pattern' is no regex that can be followed", *errors[:1]])


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
