"""Tokens of texts and conversations: those that would be run, in the shape that vLLM's clients expect."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from clients import application, async_client, async_openai
from fakes import LOADING, MODEL, ScriptedEngine, reply
from llm_server.harmony.encoding import CHANNEL, END, START, encode

CHAT: dict[str, Any] = {
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
    "tools": [{"type": "function", "function": {"name": "clock"}}],
    "reasoning_effort": "low",
}


async def post(path: str, body: dict[str, Any], engine: ScriptedEngine | None = None) -> httpx2.Response:
    async with async_client(application(engine or ScriptedEngine(reply("Hm.", "Hi")))) as http:
        return await http.post(path, json=body)


async def tokenized(**fields: Any) -> dict[str, Any]:
    answer: dict[str, Any] = (await post("/tokenize", fields)).json()
    assert answer["count"] == len(answer["tokens"])
    return answer


@pytest.mark.parametrize("text", ["Hello, world", "<|start|>user", "", "😀 日本"])
async def test_a_text_is_tokenized_and_back(text: str) -> None:
    answer = await tokenized(model="gpt-oss-20b", prompt=text, add_special_tokens=True)
    assert answer == {"count": len(encode(text)), "max_model_len": MODEL.context_length, "tokens": encode(text)}
    assert (await post("/detokenize", {"tokens": answer["tokens"]})).json() == {"prompt": text}


async def test_a_conversation_has_the_tokens_that_would_be_run() -> None:
    engine = ScriptedEngine(reply("Hm.", "Hi"))
    await async_openai(application(engine)).chat.completions.create(model="gpt-oss-20b", **CHAT)
    counted = await tokenized(**CHAT)
    assert counted["tokens"] == engine.submissions[0].prompt
    without = await tokenized(**CHAT, model=None, add_generation_prompt=False)
    assert [*without["tokens"], START, *encode("assistant")] == counted["tokens"]


async def test_a_text_has_the_tokens_that_would_be_run() -> None:
    engine = ScriptedEngine(encode(" on"))
    await async_openai(application(engine)).completions.create(model="gpt-oss-20b", prompt="<|end|> and so")
    assert (await tokenized(prompt="<|end|> and so"))["tokens"] == engine.submissions[0].prompt


async def test_tokens_are_spelled_if_asked_for() -> None:
    assert (await tokenized(prompt="Hello, 🫨", return_token_strs=True))["token_strs"][:2] == ["Hello", ","]
    spelled = (await tokenized(**CHAT, return_token_strs=True))["token_strs"]
    assert spelled[0] == "<|start|>"


async def test_special_tokens_are_detokenized_to_their_names() -> None:
    tokens = [START, *encode("assistant"), CHANNEL, *encode("analysis"), END]
    answer = await post("/detokenize", {"model": "gpt-oss-20b", "tokens": tokens})
    assert answer.json() == {"prompt": "<|start|>assistant<|channel|>analysis<|end|>"}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/tokenize", {}, 400),
        ("/tokenize", {"prompt": "a", "messages": []}, 400),
        ("/tokenize", {"prompt": 5}, 400),
        ("/tokenize", {"messages": [{"role": "user", "content": 5}]}, 400),
        ("/tokenize", {"model": "gpt-4", "prompt": "a"}, 404),
        ("/detokenize", {"tokens": [201_088]}, 400),
        ("/detokenize", {"tokens": "a"}, 400),
        ("/detokenize", {"tokens": [0] * 262_145}, 400),
        ("/detokenize", {"model": "gpt-4", "tokens": []}, 404),
    ],
)
async def test_faults_are_told_in_openais_words(path: str, body: dict[str, Any], status: int) -> None:
    answer = await post(path, body)
    assert answer.status_code == status
    assert answer.json()["error"]["type"] == "invalid_request_error"


async def test_a_model_that_is_loading_can_be_asked_later() -> None:
    answer = await post("/tokenize", {"prompt": "a"}, ScriptedEngine(status=LOADING))
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
