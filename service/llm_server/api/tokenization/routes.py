"""`POST /tokenize` and `POST /detokenize`. What they show is the caller's own text, and what is made of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.responses import Response

from llm_server.api.body import json_body, json_value, validate
from llm_server.api.http import JSON, json_response
from llm_server.api.openai_chat.request import to_generations
from llm_server.api.openai_chat.schema import ChatRequest
from llm_server.api.services import Services, ServicesDep
from llm_server.api.tokenization.schema import DetokenizeRequest, TokenizeRequest
from llm_server.errors import BadRequest
from llm_server.harmony.tokens import is_token, spelling, text_of, tokens_of

router = APIRouter()


@router.post("/tokenize")
async def tokenize(value: Annotated[Any, Depends(json_value)], services: ServicesDep) -> Response:
    """The tokens of a text, or those of the prompt that a conversation would be run with."""
    body = validate(TokenizeRequest, value)
    model = services.models.require(body.model or services.models.served or "")
    tokens = await _conversation(value, body, services) if body.prompt is None else await _text(body.prompt)
    counted: JSON = {"count": len(tokens), "max_model_len": model.context_length, "tokens": list(tokens)}
    shown = {"token_strs": [spelling(token) for token in tokens]} if body.return_token_strs else {}
    return json_response({**counted, **shown})


@router.post("/detokenize")
async def detokenize(
    body: Annotated[DetokenizeRequest, Depends(json_body(DetokenizeRequest))], services: ServicesDep
) -> Response:
    """The text of the tokens, special ones spelled."""
    services.models.require(body.model or services.models.served or "")
    if not all(map(is_token, body.tokens)):
        raise BadRequest("'tokens' holds an id that is no token.", param="tokens")
    return json_response({"prompt": await asyncio.to_thread(text_of, body.tokens)})


async def _text(prompt: str) -> Sequence[int]:
    return await asyncio.to_thread(tokens_of, prompt)


async def _conversation(value: Any, body: TokenizeRequest, services: Services) -> Sequence[int]:
    chat = validate(ChatRequest, {**value, "model": ""})
    prompt = await services.generator.prompt(to_generations(chat)[0].conversation)
    return prompt.tokens if body.add_generation_prompt else prompt.tokens[: prompt.parts[-1].start]
