"""What the schemas of all APIs share: how strict they are, which names tools may have, the levels of reasoning.

Knows no API.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

_NAME: Final = re.compile(r"\S{1,128}")


def is_name(name: str) -> bool:
    """Whether a tool may be called so. Real clients send dots and slashes; a special token in it would be an attack."""
    return bool(_NAME.fullmatch(name)) and name.isprintable() and "<|" not in name


def _name(name: str) -> str:
    if not is_name(name):
        raise ValueError("Name should be 1 to 128 printable characters without spaces and without '<|'")
    return name


def _choice(choice: Any) -> Any:
    return {"type": choice} if isinstance(choice, str) else choice


Name: TypeAlias = Annotated[str, AfterValidator(_name)]
Effort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
MODE_OR_TOOL: Final = BeforeValidator(_choice)
"""For a `tool_choice`, whose modes may be mere strings."""


class Wire(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)
