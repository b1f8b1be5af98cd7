"""Instructor: typed answers through tools, JSON Schema and Responses. The server's address is the argument."""

import sys

import instructor
from openai import OpenAI
from pydantic import BaseModel


class City(BaseModel):
    name: str
    country: str


for mode in ("TOOLS", "JSON_SCHEMA", "RESPONSES_TOOLS"):
    sdk = OpenAI(base_url=f"{sys.argv[1]}/v1", api_key="none")
    client = instructor.from_openai(sdk, mode=getattr(instructor.Mode, mode))
    asked = [{"role": "user", "content": "Paris is in France"}]
    city = client.chat.completions.create(model="gpt-oss-20b", response_model=City, messages=asked, max_retries=0)
    assert isinstance(city, City), mode
