"""The requests of `/tokenize` and `/detokenize`. A conversation has the fields of a Chat Completions request.

Types are strict, unknown fields are ignored. Source: vLLM's `TokenizeCompletionRequest`, `TokenizeChatRequest` and
`DetokenizeRequest`.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, model_validator

from llm_server.api.wire import Wire

MAX_TOKENS: Final = 262_144
"""Twice the model's longest context. Checking millions would hold up every stream."""


class TokenizeRequest(Wire):
    """Either a `prompt` or `messages`. `add_special_tokens` changes nothing: this model's texts begin without one.

    `add_generation_prompt`: the tokens end where the assistant is to go on.
    """

    model: str | None = None
    prompt: str | None = None
    messages: list[Any] | None = None
    add_special_tokens: bool | None = None
    add_generation_prompt: bool = True
    return_token_strs: bool | None = None

    @model_validator(mode="after")
    def _is_one_of_both(self) -> TokenizeRequest:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("Either 'prompt' or 'messages' should be given")
        return self


class DetokenizeRequest(Wire):
    model: str | None = None
    tokens: Annotated[list[int], Field(max_length=MAX_TOKENS)]
