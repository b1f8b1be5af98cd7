"""Lists of items, page by page, with the last id of a page as the next one's cursor. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from llm_server.api.http import JSON
from llm_server.api.openai_responses.schema import PageQuery
from llm_server.errors import BadRequest


def page(items: Sequence[JSON], asked: PageQuery) -> JSON:
    """One page of the items, which are in the order in which they were said.

    Raises:
        BadRequest: there is no such item to go on after.
    """
    ordered = list(items) if asked.order == "asc" else list(reversed(items))
    identities = [item["id"] for item in ordered]
    if asked.after is not None and asked.after not in identities:
        raise BadRequest("'after': the list has no such item.", param="after")
    begin = identities.index(asked.after) + 1 if asked.after is not None else 0
    data = ordered[begin : begin + asked.limit]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else "",
        "last_id": data[-1]["id"] if data else "",
        "has_more": len(ordered) > begin + asked.limit,
    }
