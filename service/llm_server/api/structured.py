"""How a caller's output format is told to the model: Harmony's "# Response Formats" section, the same for every API.

The section tells; the grammar of the turn enforces.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def response_format(name: str, schema: Mapping[str, Any], description: str = "") -> str:
    """The section for a final message that satisfies `schema` (Harmony guide, "Structured output")."""
    comment = "".join(f"// {line}\n" for line in description.splitlines())
    body = json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
    return f"# Response Formats\n\n## {name}\n\n{comment}{body}"
