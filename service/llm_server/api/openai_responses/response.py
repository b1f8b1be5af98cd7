"""Canonical events as the Responses API's events, and the response that they add up to. Pure; knows no HTTP.

The whole response is what the stream's last event carries: there is one fold for both.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Final, assert_never

from llm_server.api.http import JSON
from llm_server.api.openai_responses.output import OutputItem, Piece, new_id, output_item, visible
from llm_server.api.openai_responses.request import ENCRYPTED, effort, is_strict
from llm_server.api.openai_responses.schema import ResponseRequest
from llm_server.api.openai_responses.tools import Known, shown, shown_choice
from llm_server.conversation import GenerationDefaults
from llm_server.errors import BadRequest, Overloaded, ServerError
from llm_server.events import BlockDelta, BlockStart, BlockStop, Event, Finish, Usage

INVALID_PROMPT: Final = "invalid_prompt"


def draft(body: ResponseRequest, model: str, defaults: GenerationDefaults, *, store: bool) -> JSON:
    """The response as it is before anything was generated: all that it repeats of its request. No key is left out."""
    return {
        "id": new_id("resp"),
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "background": False,
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "max_tool_calls": body.max_tool_calls,
        "metadata": body.metadata or {},
        "model": model,
        "output": [],
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "presence_penalty": body.presence_penalty or 0.0,
        "frequency_penalty": body.frequency_penalty or 0.0,
        "previous_response_id": body.previous_response_id,
        "prompt_cache_key": body.prompt_cache_key,
        "reasoning": {"effort": effort(body), "summary": None},
        "safety_identifier": body.safety_identifier,
        "service_tier": "default",
        "store": store,
        "temperature": defaults.temperature if body.temperature is None else body.temperature,
        "text": _text(body),
        "tool_choice": shown_choice(body.tool_choice),
        "tools": shown(body.tools or ()),
        "top_logprobs": body.top_logprobs or 0,
        "top_p": defaults.top_p if body.top_p is None else body.top_p,
        "truncation": body.truncation or "disabled",
        "usage": None,
        "user": body.user,
    }


class ResponseWriter:
    """Events in, this API's events out, numbered from 0.

    `response` is the response so far, with reasoning sealed; `shown` is what the client gets of it. Only `end` tells
    that it is over: what is to be done before a client knows of it goes between `feed` and `end`.
    """

    def __init__(self, draft: JSON, known: Mapping[str, Known], *, encrypted: bool = False) -> None:
        self.response = draft
        self.is_started = False
        self._known = known
        self._encrypted = encrypted
        self._sequence = 0
        self._item: OutputItem | None = None
        self._index = 0

    @property
    def shown(self) -> JSON:
        output = [visible(item, encrypted=self._encrypted) for item in self.response["output"]]
        return {**self.response, "output": output}

    def start(self) -> list[JSON]:
        self.is_started = True
        return [self._state("created"), self.in_progress()]

    def in_progress(self) -> JSON:
        """Says that the response is being generated. May be said again and again, between any two events."""
        return self._state("in_progress")

    def feed(self, event: Event) -> list[JSON]:
        """The events of one event: most often one."""
        match event:
            case BlockStart():
                return self._open(event)
            case BlockDelta():
                return self._of_item(self._item.go_on(event) if self._item else ())
            case BlockStop():
                return self._close(event)
            case Finish():
                self._finish(event)
                return []
        assert_never(event)

    def end(self) -> JSON:
        """The last event: `response.completed`, or `response.incomplete`."""
        return self._state(self.response["status"])

    def failed(self, error: ServerError) -> JSON:
        """The last event of an answer that has failed."""
        failure = {"code": _code(error), "message": error.message}
        self.response = {**self.response, "status": "failed", "error": failure, "completed_at": None}
        return self._state("failed")

    def _open(self, start: BlockStart) -> list[JSON]:
        self._index = len(self.response["output"])
        self._item = item = output_item(start, self._known.get(start.tool_name))
        added = self._event("output_item.added", output_index=self._index, item=item.added())
        return [added, *self._of_item(item.begin())]

    def _close(self, stop: BlockStop) -> list[JSON]:
        item, index = self._item, self._index
        if item is None:
            return []
        events = self._of_item(item.end(stop))
        done = item.done(stop)
        self._item = None
        if done is None:
            return events
        self.response = {**self.response, "output": [*self.response["output"], done]}
        shown = visible(done, encrypted=self._encrypted)
        return [*events, self._event("output_item.done", output_index=index, item=shown)]

    def _of_item(self, pieces: Iterable[Piece]) -> list[JSON]:
        identity = self._item.id if self._item else ""
        return [self._event(kind, item_id=identity, output_index=self._index, **fields) for kind, fields in pieces]

    def _finish(self, finish: Finish) -> None:
        is_cut = finish.reason == "length"
        self.response = {
            **self.response,
            "status": "incomplete" if is_cut else "completed",
            "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
            "completed_at": None if is_cut else int(time.time()),
            "usage": usage(finish.usage),
        }

    def _state(self, state: str) -> JSON:
        return self._event(state, response=self.shown)

    def _event(self, kind: str, **fields: object) -> JSON:
        event = {"type": f"response.{kind}", "sequence_number": self._sequence, **fields}
        self._sequence += 1
        return event


def usage(usage: Usage) -> JSON:
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": usage.stored},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt + usage.completion,
    }


def wants_seals(body: ResponseRequest) -> bool:
    """Whether the client carries reasoning itself."""
    return ENCRYPTED in (body.include or ())


def _text(body: ResponseRequest) -> JSON:
    verbosity = (body.text and body.text.verbosity) or "medium"
    asked = body.text.format if body.text else None
    if asked is None or asked.type != "json_schema":
        return {"format": {"type": asked.type if asked else "text"}, "verbosity": verbosity}
    shown = {"type": asked.type, "name": asked.name, "schema": asked.schema_, "strict": is_strict(body.text)}
    return {"format": {**shown, "description": asked.description}, "verbosity": verbosity}


def _code(error: ServerError) -> str:
    """The codes that this API has for a response. It has fewer than for a request."""
    match error:
        case Overloaded():
            return error.code
        case BadRequest():
            return INVALID_PROMPT
    return "server_error"
