"""LiteLLM: answers and a stream as OpenAI and as Anthropic. The server's address is the argument."""

import sys

import litellm

BASE = sys.argv[1]
COUNT = [{"role": "user", "content": "Count to 5"}]
OPENAI = {"model": "openai/gpt-oss-20b", "api_base": f"{BASE}/v1", "api_key": "none"}

answers = [
    litellm.completion(**OPENAI, messages=COUNT).choices[0].message.content,
    "".join(
        chunk.choices[0].delta.content or "" for chunk in litellm.completion(**OPENAI, messages=COUNT, stream=True)
    ),
    litellm.completion("anthropic/claude-opus-5-5", messages=COUNT, api_base=BASE, api_key="none")
    .choices[0]
    .message.content,
]
assert all("1, 2, 3, 4, 5" in answer for answer in answers), answers
