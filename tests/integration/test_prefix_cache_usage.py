"""What the official SDKs are told of prompts that were read before, by a real server with the embedded model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, cast

import anthropic
import openai
import pytest

from running_server import RunningServer, StartServer

MODEL = "gpt-oss-20b"
CLAUDE = "claude-opus-5-5"
FRAME = "You answer briefly, and never repeat what you were asked. " * 40
BESIDE_THE_MESSAGE = 25
"""Tokens of a short message with its header and end, and the header of the answer."""

TOOL: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather for a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture
def chat(server: RunningServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.base_url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def claude(server: RunningServer) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=server.base_url, api_key="none", max_retries=0) as client:
        yield client


def counts(completion: Any) -> tuple[int, int]:
    """Tokens of the prompt, and those of them that were known."""
    return completion.usage.prompt_tokens, completion.usage.prompt_tokens_details.cached_tokens


def test_the_second_turn_of_a_chat_reads_what_is_new(chat: openai.OpenAI) -> None:
    messages: list[Any] = [{"role": "system", "content": "Chat. " + FRAME}, {"role": "user", "content": "Count to 5"}]
    first = chat.chat.completions.create(model=MODEL, messages=messages, temperature=0)
    messages.append({"role": "assistant", "content": first.choices[0].message.content})
    messages.append({"role": "user", "content": "Count to 6"})
    second = chat.chat.completions.create(model=MODEL, messages=messages, temperature=0)
    before, known = counts(first)
    prompt, cached = counts(second)
    assert known < 200  # of other tests' prompts
    assert cached >= before - 1
    assert prompt - cached < 2 * BESIDE_THE_MESSAGE
    assert second.choices[0].message.content == "1, 2, 3, 4, 5, 6"


@pytest.mark.parametrize(("city", "choice"), [("Paris", "auto"), ("Oslo", "none")])
def test_a_result_of_a_tool_is_all_that_is_read_between_calls(
    chat: openai.OpenAI, city: str, choice: Literal["auto", "none"]
) -> None:
    """The server splices back what the model thought and called, token for token."""
    messages: list[Any] = [{"role": "user", "content": f"What is the weather in {city}?"}]
    first = chat.chat.completions.create(model=MODEL, messages=messages, tools=[TOOL], temperature=0)
    [call] = first.choices[0].message.tool_calls or []
    messages.append(first.choices[0].message.to_dict())
    messages.append({"role": "tool", "tool_call_id": call.id, "content": "It is sunny and 21 degrees."})
    second = chat.chat.completions.create(
        model=MODEL, messages=messages, tools=[TOOL], tool_choice=choice, temperature=0
    )
    assert second.choices[0].message.tool_calls is None
    assert first.usage is not None
    prompt, cached = counts(second)
    assert cached == first.usage.total_tokens
    assert prompt - cached < 2 * BESIDE_THE_MESSAGE


def test_choices_of_one_prompt_do_not_count_it_as_known(chat: openai.OpenAI) -> None:
    messages: list[Any] = [
        {"role": "system", "content": "Choices. " + FRAME},
        {"role": "user", "content": "Count to 3"},
    ]
    answer = chat.chat.completions.create(model=MODEL, messages=messages, n=3, temperature=0)
    prompt, cached = counts(answer)
    assert prompt > 400
    assert cached < 200
    assert [choice.message.content for choice in answer.choices] == ["1, 2, 3"] * 3


def test_messages_count_what_was_read_from_the_cache_and_what_was_not(claude: anthropic.Anthropic) -> None:
    asked: dict[str, Any] = {"model": CLAUDE, "max_tokens": 100, "system": "Messages. " + FRAME}
    asked["messages"] = [{"role": "user", "content": "Count to 5"}]
    first = claude.messages.create(**asked)
    second = claude.messages.create(**asked)
    whole = first.usage.input_tokens + (first.usage.cache_read_input_tokens or 0)
    assert second.usage.cache_read_input_tokens == whole - 1
    assert second.usage.input_tokens == 1


def test_what_is_newly_kept_of_a_prompt_is_told(claude: anthropic.Anthropic, chat: openai.OpenAI) -> None:
    system: Any = [{"type": "text", "text": "Kept. " + FRAME, "cache_control": {"type": "ephemeral"}}]
    asked: dict[str, Any] = {"model": CLAUDE, "max_tokens": 100, "system": system}
    first, second = (
        claude.messages.create(**asked, messages=[{"role": "user", "content": f"Count to {n}"}]).usage for n in (5, 6)
    )
    told = [(each.cache_creation_input_tokens or 0, each.cache_read_input_tokens or 0) for each in (first, second)]
    assert [each.input_tokens for each in (first, second)] == [1, 1]
    assert told[0][0] > 400
    assert told[1][0] < BESIDE_THE_MESSAGE
    for turn in ("Count to 7", "Count to 8"):
        usage = chat.responses.create(model=MODEL, instructions="Kept. " + FRAME, input=turn).usage
        assert usage is not None
        details = usage.input_tokens_details
        assert 1 <= details.cache_write_tokens <= usage.input_tokens - 1 - details.cached_tokens


def test_a_server_that_is_to_know_nothing_knows_nothing(start_server: StartServer) -> None:
    server = start_server(LLM_PREFIX_CACHE_BYTES="0")
    server.wait_until_ready()
    messages: list[Any] = [{"role": "user", "content": "Count to 5"}]
    with openai.OpenAI(base_url=f"{server.base_url}/v1", api_key="none", max_retries=0) as chat:
        answers = [chat.chat.completions.create(model=MODEL, messages=messages, temperature=0) for _ in range(2)]
    assert [counts(answer)[1] for answer in answers] == [0, 0]
    details = [answer.usage.prompt_tokens_details for answer in answers if answer.usage]
    assert [each and each.cache_write_tokens for each in details] == [0, 0]
    assert len({cast(str, answer.choices[0].message.content) for answer in answers}) == 1
