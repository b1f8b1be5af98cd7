"""LangChain: answer, stream, tools and typed answers, over all three APIs. The server's address is the argument."""

import sys

from langchain_anthropic import ChatAnthropic
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

BASE = sys.argv[1]
OPENAI = {"model": "gpt-oss-20b", "base_url": f"{BASE}/v1", "api_key": "none", "temperature": 0}


class City(BaseModel):
    name: str
    country: str


@tool
def get_weather(city: str) -> str:
    """Get the current weather for a city"""
    return f"18 degrees in {city}"


for model in (
    ChatOpenAI(**OPENAI),
    ChatOpenAI(**OPENAI, use_responses_api=True),
    ChatAnthropic(model="claude-opus-5-5", base_url=BASE, api_key="none", max_tokens=500),
):
    assert "1, 2, 3, 4, 5" in model.invoke("Count to 5").text
    assert "1, 2, 3, 4, 5" in "".join(chunk.text for chunk in model.stream("Count to 5"))
    (call,) = model.bind_tools([get_weather]).invoke("What is the weather in Oslo?").tool_calls
    assert call["name"] == "get_weather"
    assert "Oslo" in call["args"]["city"]
assert isinstance(ChatOpenAI(**OPENAI).with_structured_output(City).invoke("Paris is in France"), City)
