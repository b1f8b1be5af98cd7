"""A Completions request as canonical ones: prompts that are run as they are, without Harmony's frame.

In a text, special tokens that it spells are text. Token ids may be special ones. Knows no event.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from llm_server.api.completions.schema import CompletionRequest
from llm_server.api.sampling import nth_choice, sampling
from llm_server.conversation import Conversation, GenerationRequest
from llm_server.errors import BadRequest
from llm_server.harmony.tokens import BEGINNING_OF_TEXT, is_token, text_of, tokens_of

DEFAULT_MAX_TOKENS: Final = 16
"""OpenAI's own for this API."""


@dataclass(frozen=True, slots=True)
class RawPrompt:
    """One prompt as it is run, and as it is shown."""

    tokens: tuple[int, ...]
    text: str


def to_prompts(request: CompletionRequest) -> list[RawPrompt]:
    """The prompts in order.

    Raises:
        BadRequest: there is no such token, or what is asked of the prompt can not be done.
    """
    if request.suffix:
        raise BadRequest("This model can not fill in before a suffix.", param="suffix")
    if request.echo and request.logprobs is not None:
        raise BadRequest("Log probabilities of a prompt are not computed: ask for them without 'echo'.", param="echo")
    return [_prompt(prompt, f"prompt[{number}]") for number, prompt in enumerate(request.prompt)]


def to_generations(request: CompletionRequest, prompts: list[RawPrompt]) -> list[GenerationRequest]:
    """All candidates of the first prompt, then those of the next one."""
    top = request.logprobs if request.candidates == request.choices else request.logprobs or 0
    options = sampling(request, top)
    firsts = [
        GenerationRequest(
            Conversation(()),
            options,
            request.max_tokens or DEFAULT_MAX_TOKENS,
            tuple(request.stop or ()),
            raw=prompt.tokens,
        )
        for prompt in prompts
    ]
    return [nth_choice(first, index) for first in firsts for index in range(request.candidates)]


def _prompt(prompt: str | list[int], place: str) -> RawPrompt:
    if isinstance(prompt, str):
        return RawPrompt(tuple(tokens_of(prompt)) or (BEGINNING_OF_TEXT,), prompt)
    if not all(map(is_token, prompt)):
        raise BadRequest(f"'{place}' holds an id that is no token.", param=place)
    return RawPrompt(tuple(prompt), text_of(prompt))
