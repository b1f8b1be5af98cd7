"""A kept response as a stream: the events that its generation had, but for pieces, which are one each. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from llm_server.api.http import JSON
from llm_server.api.openai_responses.output import Piece, text_part


def replayed(response: JSON) -> Iterator[JSON]:
    """The events of a response that is over, numbered from 0. They are the same whenever it is asked for."""
    unfinished: JSON = {
        "status": "in_progress",
        "output": [],
        "usage": None,
        "completed_at": None,
        "incomplete_details": None,
    }
    pieces: list[Piece] = [(state, {"response": {**response, **unfinished}}) for state in ("created", "in_progress")]
    for index, item in enumerate(response["output"]):
        pieces += [(kind, {"output_index": index, **fields}) for kind, fields in _of(item)]
    pieces.append((response["status"], {"response": response}))
    for number, (kind, fields) in enumerate(pieces):
        yield {"type": f"response.{kind}", "sequence_number": number, **fields}


def _of(item: JSON) -> Iterator[Piece]:
    is_cut = item.get("status") == "incomplete"
    match item["type"]:
        case "message":
            yield from _message(item)
        case "function_call":
            yield from _call(item, "function_call_arguments", "arguments", {"status": "in_progress"}, is_cut)
        case "custom_tool_call":
            yield from _call(item, "custom_tool_call_input", "input", {}, is_cut)
        case _:
            yield "output_item.added", {"item": item}
    yield "output_item.done", {"item": item}


def _message(item: JSON) -> Iterator[Piece]:
    yield "output_item.added", {"item": {**item, "status": "in_progress", "content": []}}
    for index, part in enumerate(item["content"]):
        place = {"item_id": item["id"], "content_index": index}
        logprobs = [_without_bytes(logprob) for logprob in part["logprobs"]]
        yield "content_part.added", {**place, "part": text_part("")}
        yield "output_text.delta", {**place, "delta": part["text"], "logprobs": logprobs}
        yield "output_text.done", {**place, "text": part["text"], "logprobs": logprobs}
        yield "content_part.done", {**place, "part": part}


def _call(item: JSON, events: str, field: str, begun: JSON, is_cut: bool) -> Iterator[Piece]:
    yield "output_item.added", {"item": {**item, **begun, field: ""}}
    yield f"{events}.delta", {"item_id": item["id"], "delta": item[field]}
    if not is_cut:
        yield f"{events}.done", {"item_id": item["id"], field: item[field]}


def _without_bytes(logprob: JSON) -> JSON:
    top = [{"token": other["token"], "logprob": other["logprob"]} for other in logprob["top_logprobs"]]
    return {"token": logprob["token"], "logprob": logprob["logprob"], "top_logprobs": top}
