"""Pydantic AI: tool loops and typed answers, over all three APIs. The server's address is the argument."""

import sys

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

BASE = sys.argv[1]
OPENAI = OpenAIProvider(base_url=f"{BASE}/v1", api_key="none")
ANTHROPIC = AnthropicProvider(base_url=BASE, api_key="none")
asked: list[str] = []


class City(BaseModel):
    name: str
    country: str


def get_weather(city: str) -> str:
    """Get the current weather for a city"""
    asked.append(city)
    return "18 degrees and sunny"


for model in (
    OpenAIChatModel("gpt-oss-20b", provider=OPENAI),
    OpenAIResponsesModel("gpt-oss-20b", provider=OPENAI),
    AnthropicModel("claude-opus-5-5", provider=ANTHROPIC),
):
    assert Agent(model, tools=[get_weather]).run_sync("What is the weather in Oslo?").output
    assert "Oslo" in asked.pop()
    assert isinstance(Agent(model, output_type=City).run_sync("Paris is in France").output, City)
