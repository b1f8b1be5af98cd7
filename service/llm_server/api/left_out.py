"""The header that names the types of tools that the model was not told of. Knows no API's tools."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

LEFT_OUT: Final = "x-tools-left-out"
MOST_NAMED: Final = 32
LONGEST_NAME: Final = 64


def left_out_header(types: Iterable[str]) -> dict[str, str]:
    """Only what looks like a type: the rest came from the client, and may not be fit for a header."""
    named = [each for each in dict.fromkeys(types) if _is_type(each)]
    return {LEFT_OUT: ", ".join(each[:LONGEST_NAME] for each in named[:MOST_NAMED])} if named else {}


def _is_type(text: str) -> bool:
    return text.isascii() and text.replace("_", "").replace("-", "").isalnum()
