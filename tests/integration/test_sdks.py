"""The official SDKs against a real server process and the real model: whole, streamed, together, wrong, and leaving."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from processes import wait_until
from running_server import RunningServer, StartServer

MODEL = "gpt-oss-20b"
CLAUDE = "claude-opus-5-5"
GREEDY = {"temperature": 0}
"""The current Anthropic SDK has no sampling parameters of its own."""


def counted(last: int) -> str:
    return ", ".join(map(str, range(1, last + 1)))


def count_to(last: int) -> list[Any]:
    return [{"role": "user", "content": f"Count to {last}"}]


def openai_client(server: RunningServer, key: str = "none") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.base_url}/v1", api_key=key, max_retries=0)


def anthropic_client(server: RunningServer, key: str = "none") -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=server.base_url, api_key=key, max_retries=0)


@pytest.fixture
def chat(server: RunningServer) -> Iterator[openai.OpenAI]:
    with openai_client(server) as client:
        yield client


@pytest.fixture
def claude(server: RunningServer) -> Iterator[anthropic.Anthropic]:
    with anthropic_client(server) as client:
        yield client


@asynccontextmanager
async def both(server: RunningServer) -> AsyncIterator[tuple[openai.AsyncOpenAI, anthropic.AsyncAnthropic]]:
    async with (
        openai.AsyncOpenAI(base_url=f"{server.base_url}/v1", api_key="none", max_retries=0) as chat,
        anthropic.AsyncAnthropic(base_url=server.base_url, api_key="none", max_retries=0) as claude,
    ):
        yield chat, claude


def test_chat_answers_whole_and_streamed_alike(chat: openai.OpenAI) -> None:
    whole = chat.chat.completions.create(model=MODEL, messages=count_to(7), temperature=0)
    assert whole.choices[0].message.content == counted(7)
    assert whole.choices[0].finish_reason == "stop"
    assert whole.model == MODEL
    with chat.chat.completions.stream(
        model=MODEL, messages=count_to(7), temperature=0, stream_options={"include_usage": True}
    ) as stream:
        streamed = stream.get_final_completion()
    assert streamed.choices[0].message.content == counted(7)
    assert whole.usage is not None
    assert streamed.usage is not None
    assert streamed.usage.to_dict() | {"prompt_tokens_details": None} == whole.usage.to_dict() | {
        "prompt_tokens_details": None  # the second time, the prompt is known
    }
    assert whole.usage.completion_tokens_details is not None
    assert 0 < (whole.usage.completion_tokens_details.reasoning_tokens or 0) < whole.usage.completion_tokens


def test_messages_answer_whole_and_streamed_alike(claude: anthropic.Anthropic) -> None:
    asked: dict[str, Any] = {"model": CLAUDE, "max_tokens": 200, "messages": count_to(8), "extra_body": GREEDY}
    whole = claude.messages.create(**asked)
    [block] = whole.content
    assert block.type == "text"
    assert block.text == counted(8)
    assert whole.stop_reason == "end_turn"
    with claude.messages.stream(**asked) as stream:
        assert "".join(stream.text_stream) == counted(8)
        assert stream.get_final_message().usage.output_tokens == whole.usage.output_tokens


def test_a_conversation_goes_on(chat: openai.OpenAI) -> None:
    messages: list[Any] = [{"role": "system", "content": "You are a helpful assistant."}, *count_to(3)]
    first = chat.chat.completions.create(model=MODEL, messages=messages, temperature=0)
    messages += [{"role": "assistant", "content": first.choices[0].message.content}, *count_to(5)]
    second = chat.chat.completions.create(model=MODEL, messages=messages, temperature=0)
    assert (first.choices[0].message.content, second.choices[0].message.content) == (counted(3), counted(5))


async def test_sixteen_streams_at_once_are_each_right(server: RunningServer) -> None:
    async with both(server) as (chat, claude):

        async def by_chat(last: int) -> str:
            stream = await chat.chat.completions.create(
                model=MODEL, messages=count_to(last), temperature=0, reasoning_effort="low", stream=True
            )
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        async def by_messages(last: int) -> str:
            async with claude.messages.stream(
                model=CLAUDE, max_tokens=300, messages=count_to(last), extra_body=GREEDY
            ) as stream:
                return "".join([text async for text in stream.text_stream])

        lasts = range(3, 19)
        answers = await asyncio.gather(*(by_chat(last) if last % 2 else by_messages(last) for last in lasts))
    assert answers == [counted(last) for last in lasts]


def test_the_same_seed_gives_the_same_text(chat: openai.OpenAI) -> None:
    """A prompt without a frame: in a conversation the model is so sure of itself that no seed makes a difference."""

    def texts(seed: int) -> list[str]:
        asked = chat.completions.create(
            model=MODEL, prompt="Once upon a time", temperature=2, seed=seed, n=2, max_tokens=12
        )
        return [choice.text for choice in asked.choices]

    first, again, second = texts(1), texts(1), texts(2)
    assert first == again
    assert first != second
    assert first[1] == second[0], "the second choice of a seed is the first of the next"


def test_stop_strings_and_logprobs_are_about_the_answer(chat: openai.OpenAI) -> None:
    answer = chat.chat.completions.create(
        model=MODEL, messages=count_to(9), temperature=0, stop=[", 5"], logprobs=True, top_logprobs=3
    ).choices[0]
    assert answer.message.content == counted(4)
    assert answer.finish_reason == "stop"
    assert answer.logprobs is not None
    assert answer.logprobs.content is not None
    assert "".join(token.token for token in answer.logprobs.content).startswith(counted(4))
    assert all(len(token.top_logprobs) <= 3 and token.logprob <= 0 for token in answer.logprobs.content)


def test_a_small_limit_ends_with_length_and_still_answers(chat: openai.OpenAI) -> None:
    answer = chat.chat.completions.create(model=MODEL, messages=count_to(30), max_tokens=40, temperature=0).choices[0]
    assert answer.finish_reason == "length"
    assert answer.message.content
    assert counted(30).startswith(answer.message.content)


TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Get the current weather for a city",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "description": "The city"}},
                "required": ["city"],
            },
        },
    }
]


@pytest.mark.parametrize("tool_choice", ["auto", "required", {"type": "function", "function": {"name": "get_weather"}}])
def test_a_tool_loop_ends_with_the_tools_result(chat: openai.OpenAI, tool_choice: Any) -> None:
    messages: list[Any] = [{"role": "user", "content": "What is the weather in Oslo?"}]
    asked: dict[str, Any] = {"model": MODEL, "temperature": 0, "tools": TOOLS}
    called = chat.chat.completions.create(messages=messages, tool_choice=tool_choice, **asked).choices[0]
    assert called.finish_reason == "tool_calls"
    assert called.message.tool_calls
    [call] = called.message.tool_calls
    assert call.type == "function"
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "Oslo"}
    result = {"role": "tool", "tool_call_id": call.id, "content": "snow"}
    messages += [called.message.model_dump(exclude_none=True), result]
    answered = chat.chat.completions.create(messages=messages, **asked).choices[0]
    assert answered.finish_reason == "stop"
    assert "snow" in (answered.message.content or "")


def test_a_response_format_is_kept(chat: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"unit": {"enum": ["celsius", "kelvin"]}, "warm": {"type": "boolean"}},
        "required": ["unit", "warm"],
        "additionalProperties": False,
    }
    answer = chat.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Hello"}],
        temperature=0,
        response_format={"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}},
    )
    content = json.loads(answer.choices[0].message.content or "")
    assert content["unit"] in ("celsius", "kelvin")
    assert isinstance(content["warm"], bool)


def test_errors_are_the_sdks_own(chat: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    with pytest.raises(openai.NotFoundError, match="gpt-oss-tiny"):
        chat.chat.completions.create(model="gpt-4", messages=count_to(3))
    with pytest.raises(openai.BadRequestError, match="temperature"):
        chat.chat.completions.create(model=MODEL, messages=count_to(3), temperature=9)
    with pytest.raises(openai.BadRequestError) as refused:
        chat.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "word " * 140_000}])
    assert refused.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError, match="not"):
        chat.chat.completions.create(
            model=MODEL,
            messages=count_to(3),
            response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": {"not": {}}}},
        )
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.create(model="gpt-4", max_tokens=9, messages=count_to(3))
    with pytest.raises(anthropic.BadRequestError, match="prompt is too long"):
        claude.messages.create(model=CLAUDE, max_tokens=9, messages=[{"role": "user", "content": "word " * 140_000}])


def test_a_key_is_asked_for(start_server: StartServer) -> None:
    server = start_server(LLM_API_KEY="right")
    server.wait_until_ready()
    with openai_client(server, "right") as chat, anthropic_client(server, "right") as claude:
        assert chat.models.list().data[0].id == "gpt-oss-tiny"
        assert claude.models.list().data[0].id == "gpt-oss-tiny"
    with openai_client(server, "wrong") as chat, pytest.raises(openai.AuthenticationError):
        chat.models.list()
    with anthropic_client(server, "wrong") as claude, pytest.raises(anthropic.AuthenticationError):
        claude.models.list()


def test_a_request_that_takes_too_long_is_ended(start_server: StartServer) -> None:
    server = start_server(LLM_REQUEST_TIMEOUT="0.001")
    server.wait_until_ready()
    with openai_client(server) as chat, pytest.raises(openai.InternalServerError) as ended:
        chat.chat.completions.create(model=MODEL, messages=count_to(30))
    assert ended.value.status_code == 504


LONG: dict[str, Any] = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "word " * 30_000}],
    "max_tokens": 50_000,
    "temperature": 2,
}


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_frees_its_slot(start_server: StartServer, stream: bool) -> None:
    """One slot and no queue: the next request is admitted only once the first one has left."""
    server = start_server(LLM_MAX_CONCURRENCY="1", LLM_MAX_QUEUE="0")
    server.wait_until_ready()
    with (
        httpx2.Client(base_url=server.base_url, timeout=0.5) as leaving,
        pytest.raises(httpx2.ReadTimeout),
        leaving.stream("POST", "/v1/chat/completions", json={**LONG, "stream": stream}) as response,
    ):
        for _ in response.iter_bytes():
            pass

    with openai_client(server) as client:
        wait_until(lambda: is_answered(client), seconds=30)


def is_answered(client: openai.OpenAI) -> bool:
    """Whether there is room for a request, which is then answered."""
    try:
        answer = client.chat.completions.create(model=MODEL, messages=count_to(3), temperature=0)
    except openai.RateLimitError:
        return False
    return answer.choices[0].message.content == counted(3)
