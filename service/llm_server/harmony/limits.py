"""How much work the grammar library may do for one grammar, where it is tried out and where it is decoded with."""

from __future__ import annotations

from typing import Final

from llguidance import LLParserLimits

STEP_FUEL: Final = 100_000
"""What the lexer may do for one mask. The library's own default is twice as much, and takes seconds."""

ROW_ITEMS: Final = 6_000
"""What may be possible at one place. The default of 2,000 is less than a few hundred optional properties need."""


def parser_limits(step_fuel: int = STEP_FUEL) -> LLParserLimits:
    return LLParserLimits(step_lexer_fuel=step_fuel, max_items_in_row=ROW_ITEMS)
