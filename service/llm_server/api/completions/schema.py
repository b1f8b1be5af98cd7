"""The Completions request as it comes over the wire. Knows no canonical type.

Types and ranges are strict, unknown fields are ignored: clients send what other servers understand.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeAlias

from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from llm_server.api.sampling import SamplingFields
from llm_server.api.wire import Wire

MAX_CHOICES: Final = 128
"""Choices of all prompts together, those that `best_of` discards included."""


def _prompts(prompt: Any) -> Any:
    """One prompt or several, each a text or token ids: as a list of several."""
    match prompt:
        case None:
            return [""]
        case str() | [int(), *_]:
            return [prompt]
    return prompt


def _prompt(prompt: Any) -> Any:
    if isinstance(prompt, str) or (isinstance(prompt, list) and prompt and all(type(token) is int for token in prompt)):
        return prompt
    raise ValueError("Input should be a text, or a list of token ids")


Prompt: TypeAlias = Annotated[str | list[int], PlainValidator(_prompt)]


class StreamOptions(Wire):
    include_usage: bool | None = None


class CompletionRequest(SamplingFields):
    model: str
    prompt: Annotated[Annotated[list[Prompt], Field(min_length=1)], BeforeValidator(_prompts)]
    suffix: str | None = None
    max_tokens: Annotated[int | None, Field(ge=1, lt=2**31)] = None
    n: Annotated[int | None, Field(ge=1, le=MAX_CHOICES)] = None
    best_of: Annotated[int | None, Field(ge=1, le=MAX_CHOICES)] = None
    echo: bool | None = None
    logprobs: Annotated[int | None, Field(ge=0, le=20)] = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @property
    def choices(self) -> int:
        return self.n or 1

    @property
    def candidates(self) -> int:
        return max(self.best_of or 0, self.choices)

    @model_validator(mode="after")
    def _fits(self) -> CompletionRequest:
        if self.best_of is not None and self.best_of < self.choices:
            raise ValueError("'best_of' should be at least 'n'")
        if self.stream and self.candidates > self.choices:
            raise ValueError("'best_of' can not choose from what was streamed already: it should be 'n'")
        if len(self.prompt) * self.candidates > MAX_CHOICES:
            raise ValueError(f"At most {MAX_CHOICES} answers can be asked for at once")
        return self
