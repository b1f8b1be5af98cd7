"""Sampling options as OpenAI's Completions and Chat Completions name them, and what they mean.

Types and ranges are strict; unknown fields are ignored.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field

from llm_server.api.wire import Wire
from llm_server.conversation import GenerationRequest, Sampling

MAX_BIASES: Final = 1024

SMALLEST_TOP_P: Final = 1e-6
"""`top_p: 0` leaves the likeliest token alone, in OpenAI's reading. Samplers read 0 as no limit."""

SEEDS: Final = 2**63

_TOKEN: Final = re.compile(r"[0-9]{1,6}")
_TAKEN_OVER: Final = {
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
}


def _biases(biases: dict[str, Any] | None) -> dict[str, Any] | None:
    """Checked as a whole, because a fault's place would quote a key."""
    if biases and len(biases) > MAX_BIASES:
        raise ValueError(f"Input should have at most {MAX_BIASES} members")
    for token, bias in (biases or {}).items():
        if not _TOKEN.fullmatch(token):
            raise ValueError("Keys should be token ids")
        if isinstance(bias, bool) or not isinstance(bias, int | float) or not -100 <= bias <= 100:
            raise ValueError("Values should be numbers from -100 to 100")
    return biases


def _strings(stop: Any) -> Any:
    return [stop] if isinstance(stop, str) else stop


class SamplingFields(Wire):
    temperature: Annotated[float | None, Field(ge=0, le=2)] = None
    top_p: Annotated[float | None, Field(ge=0, le=1)] = None
    top_k: Annotated[int | None, Field(ge=-1, le=1_000_000)] = None
    min_p: Annotated[float | None, Field(ge=0, le=1)] = None
    seed: Annotated[int | None, Field(ge=-(2**63), lt=2**63)] = None
    presence_penalty: Annotated[float | None, Field(ge=-2, le=2)] = None
    frequency_penalty: Annotated[float | None, Field(ge=-2, le=2)] = None
    repetition_penalty: Annotated[float | None, Field(gt=0, le=10)] = None
    logit_bias: Annotated[dict[str, Any] | None, AfterValidator(_biases)] = None
    stop: Annotated[Annotated[list[str], Field(max_length=16)] | None, BeforeValidator(_strings)] = None


def sampling(fields: SamplingFields, top_logprobs: int | None) -> Sampling:
    """The canonical options. What was not sent, or is null, is the model's own."""
    wanted = Sampling(
        **fields.model_dump(include=_TAKEN_OVER, exclude_none=True),
        logit_bias={int(token): bias for token, bias in (fields.logit_bias or {}).items()},
        top_logprobs=top_logprobs,
    )
    top_p = None if wanted.top_p is None else max(wanted.top_p, SMALLEST_TOP_P)
    return replace(wanted, top_p=top_p, top_k=canonical_top_k(wanted.top_k))


def canonical_top_k(top_k: int | None) -> int | None:
    """For no limit, clients write -1 or 0."""
    return None if top_k is None else max(top_k, 0)


def nth_choice(first: GenerationRequest, index: int) -> GenerationRequest:
    """The request for one of several choices. They differ in the seed alone, if there is one."""
    seed = first.sampling.seed
    if seed is None:
        return first
    return replace(first, sampling=replace(first.sampling, seed=(seed + index) % SEEDS))
