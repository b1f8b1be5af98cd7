"""OpenAI's Agents SDK: a tool loop and a stream, over both of OpenAI's APIs. The server's address is the argument."""

import asyncio
import sys

from agents import (
    Agent,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI

set_tracing_disabled(True)
CLIENT = AsyncOpenAI(base_url=f"{sys.argv[1]}/v1", api_key="none")
asked: list[str] = []


@function_tool
def get_weather(city: str) -> str:
    """Get the current weather for a city"""
    asked.append(city)
    return "18 degrees and sunny"


async def main() -> None:
    for kind in (OpenAIResponsesModel, OpenAIChatCompletionsModel):
        model = kind("gpt-oss-20b", CLIENT)
        done = await Runner.run(Agent(name="weather", model=model, tools=[get_weather]), "What is the weather in Oslo?")
        assert "Oslo" in asked.pop()
        assert done.final_output
        streamed = Runner.run_streamed(Agent(name="counter", model=model), "Count to 5")
        assert [event async for event in streamed.stream_events()]
        assert "1, 2, 3, 4, 5" in streamed.final_output, streamed.final_output


asyncio.run(main())
