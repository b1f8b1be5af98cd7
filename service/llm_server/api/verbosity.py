"""How long answers are to be: what OpenAI's `verbosity` tells the model, the same for every API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

Verbosity: TypeAlias = Literal["low", "medium", "high"]

VERBOSITY: Final[Mapping[Verbosity, str]] = {
    "low": "# Verbosity\n\nAnswer briefly, with what was asked for and no more.",
    "medium": "",
    "high": "# Verbosity\n\nAnswer at length, with details and explanations.",
}
"""A section for the developer message. Medium is how the model answers anyhow."""
