"""How hard the model thinks, by one rule for every API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from llm_server.conversation import ReasoningEffort

EFFORTS: Final[Mapping[str, ReasoningEffort]] = {
    "none": "low",
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
"""Every level that some API knows, as one of the model's three. It can not be told not to think at all."""


def reasoning_effort(explicit: str | None, temperature: float | None) -> ReasoningEffort:
    """An explicit level (a key of `EFFORTS`) wins; else the temperature that the caller sent decides; else medium."""
    if explicit is not None:
        return EFFORTS[explicit]
    if temperature is None:
        return "medium"
    if temperature <= 0.3:
        return "low"
    return "medium" if temperature < 0.8 else "high"
