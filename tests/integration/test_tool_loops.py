"""The official SDKs' own tool helpers, against a real server and the embedded model: two tools, called and answered.

The request is a plain one, which any training of the model has to get right.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from anthropic import beta_tool
from openai import pydantic_function_tool
from openai.types.chat import ChatCompletion
from pydantic import BaseModel

from running_server import RunningServer

MODEL = "gpt-oss-20b"
CLAUDE = "claude-opus-5-5"
ASKED: list[Any] = [{"role": "user", "content": "What is the weather in Oslo? Next, add 3 and 4"}]
CALLS = [("get_weather", {"city": "Oslo"}), ("add", {"a": 3, "b": 4})]
LONGEST = 12
"""Messages of a loop that goes on for ever."""

GREEDY = {"temperature": 0}
"""The current Anthropic SDK has no sampling parameters of its own."""


class GetWeather(BaseModel):
    city: str


class Add(BaseModel):
    a: int
    b: int


CHAT_TOOLS = [
    pydantic_function_tool(GetWeather, name="get_weather", description="Get the current weather for a city"),
    pydantic_function_tool(Add, name="add", description="Add two numbers"),
]


class Tools:
    """The two tools; `calls` is what they were asked, in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def get_weather(self, city: str) -> str:
        self.calls.append(("get_weather", {"city": city}))
        return "5 degrees"

    def add(self, a: int, b: int) -> str:
        self.calls.append(("add", {"a": a, "b": b}))
        return str(a + b)

    def call(self, name: str, arguments: dict[str, Any]) -> str:
        match name:
            case "get_weather":
                return self.get_weather(**arguments)
            case "add":
                return self.add(**arguments)
        raise AssertionError(name)


def assert_answered(tools: Tools, answer: str | None) -> None:
    """Both tools were called with the right arguments, and the answer tells both results."""
    assert tools.calls == CALLS
    assert answer is not None
    assert "5 degrees" in answer
    assert "7" in answer


@pytest.fixture
def chat(server: RunningServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.base_url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def claude(server: RunningServer) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=server.base_url, api_key="none", max_retries=0) as client:
        yield client


def runnable(tools: Tools) -> list[Any]:
    """The tools as Anthropic's runner calls them by itself."""

    @beta_tool
    def get_weather(city: str) -> str:
        """Get the current weather for a city"""
        return tools.get_weather(city)

    @beta_tool
    def add(a: int, b: int) -> str:
        """Add two numbers"""
        return tools.add(a, b)

    return [get_weather, add]


@pytest.mark.parametrize("stream", [False, True])
def test_the_tool_runner_of_messages(claude: anthropic.Anthropic, stream: bool) -> None:
    tools = Tools()
    runner: Any = claude.beta.messages.tool_runner(
        model=CLAUDE, max_tokens=400, tools=runnable(tools), messages=ASKED, stream=stream, extra_body=GREEDY
    )
    last = runner.until_done()
    assert last.stop_reason == "end_turn"
    assert_answered(tools, "".join(block.text for block in last.content if block.type == "text"))


def test_a_loop_over_streams_of_messages(claude: anthropic.Anthropic) -> None:
    tools, messages = Tools(), list(ASKED)
    declared: list[Any] = [tool.to_dict() for tool in runnable(Tools())]
    while len(messages) < LONGEST:
        with claude.messages.stream(
            model=CLAUDE, max_tokens=400, tools=declared, messages=messages, extra_body=GREEDY
        ) as stream:
            message = stream.get_final_message()
        messages.append({"role": "assistant", "content": message.content})
        if message.stop_reason != "tool_use":
            break
        results = [
            {"type": "tool_result", "tool_use_id": block.id, "content": tools.call(block.name, dict(block.input))}
            for block in message.content
            if block.type == "tool_use"
        ]
        messages.append({"role": "user", "content": results})
    assert_answered(tools, "".join(block.text for block in message.content if block.type == "text"))


def test_a_loop_of_parsed_completions(chat: openai.OpenAI) -> None:
    """`parsed_arguments` are instances of the models that declared the tools."""
    tools, messages = Tools(), list(ASKED)
    while len(messages) < LONGEST:
        answer = chat.chat.completions.parse(
            model=MODEL, messages=messages, tools=CHAT_TOOLS, temperature=0, max_tokens=400
        ).choices[0]
        if answer.finish_reason != "tool_calls":
            break
        messages.append(answer.message)
        for call in answer.message.tool_calls or ():
            arguments = call.function.parsed_arguments
            assert isinstance(arguments, GetWeather | Add)
            result = tools.call(call.function.name, arguments.model_dump())
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    assert_answered(tools, answer.message.content)


def test_a_loop_over_streamed_completions(chat: openai.OpenAI) -> None:
    tools, messages = Tools(), list(ASKED)
    while len(messages) < LONGEST:
        with chat.chat.completions.stream(
            model=MODEL, messages=messages, tools=CHAT_TOOLS, temperature=0, max_tokens=400
        ) as stream:
            completion: ChatCompletion = stream.get_final_completion()
        answer = completion.choices[0]
        if answer.finish_reason != "tool_calls":
            break
        messages.append(answer.message.model_dump(exclude_none=True))
        for call in answer.message.tool_calls or ():
            assert call.type == "function"
            result = tools.call(call.function.name, json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    assert_answered(tools, answer.message.content)


class Report(BaseModel):
    city: str
    degrees: int
    sunny: bool


def test_an_answer_that_is_parsed_into_a_model(chat: openai.OpenAI) -> None:
    """Whatever the model makes of the question, what it writes has the model's fields."""
    question: list[Any] = [{"role": "user", "content": "What is the weather in Oslo?"}]
    answer = chat.chat.completions.parse(
        model=MODEL, messages=question, response_format=Report, temperature=0, max_tokens=400
    ).choices[0]
    assert answer.finish_reason == "stop"
    assert isinstance(answer.message.parsed, Report)
