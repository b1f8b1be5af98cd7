"""Whatever the model says, its analysis is in no response of any API, and no special token comes out as text.

The model's words of analysis are marked; everything around them is random: legal turns, broken ones, stray markers.
Where thinking was asked for, the response holds it sealed. A seal is looked into as far as anybody could without its
key: its bytes are searched, since its letters may spell a short word by chance.
"""

from __future__ import annotations

import asyncio
import base64
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clients import application, async_client
from fakes import Fail, ScriptedEngine, text_tokens
from llm_server.harmony.encoding import (
    CALL,
    CHANNEL,
    CONSTRAIN,
    END,
    END_OF_TEXT,
    MESSAGE,
    RETURN,
    START,
    VOCABULARY_SIZE,
    harmony_encoding,
)

SECRETS = ("zebra", " Quokka", " secret plan", "\nzebra zebra")
MARKED = ("zebra", "quokka", "secret")
PUBLIC = (
    "Hello",
    " world",
    " assistant",
    "final",
    "analysis",
    '{"city": "Oslo"}',
    "\n",
    " to=functions.get_weather",
    "é",
)
MARKERS = (START, END, MESSAGE, CHANNEL, CONSTRAIN, CALL, RETURN, END_OF_TEXT)
TOOL = {"type": "object", "properties": {"city": {"type": "string"}}}
QUESTION = [{"role": "user", "content": "Hello"}]
CHAT = {
    "model": "gpt-oss-20b",
    "messages": QUESTION,
    "tools": [{"type": "function", "function": {"name": "get_weather", "parameters": TOOL}}],
}
MESSAGES = {
    "model": "claude-test",
    "max_tokens": 1000,
    "messages": QUESTION,
    "tools": [{"name": "get_weather", "input_schema": TOOL}],
}
REDACTED = {**MESSAGES, "thinking": {"type": "adaptive"}}
OMITTED = {**MESSAGES, "thinking": {"type": "enabled", "budget_tokens": 1024, "display": "omitted"}}
RESPONSES = {
    "model": "gpt-oss-20b",
    "input": "Hello",
    "tools": [{"type": "function", "name": "get_weather", "parameters": TOOL}],
}
RAW = {"model": "gpt-oss-20b", "prompt": "Hello", "max_tokens": 1000}
SEALED = {**RESPONSES, "include": ["reasoning.encrypted_content"], "store": False}
REQUESTS = (
    ("/v1/responses", RESPONSES),
    ("/v1/responses", SEALED),
    ("/v1/chat/completions", CHAT),
    ("/v1/messages", MESSAGES),
    ("/v1/messages", REDACTED),
    ("/v1/messages", OMITTED),
    ("/v1/completions", RAW),
    ("/v1/completions", {**RAW, "prompt": [START, *text_tokens("assistant")], "logprobs": 2}),
)
SEAL = re.compile(r'"(data|signature|encrypted_content)":"([A-Za-z0-9_-]+)"')


def tokens(*texts: str) -> list[int]:
    return [token for text in texts for token in text_tokens(text)]


secrets = st.lists(st.sampled_from(SECRETS), min_size=1, max_size=3).map(lambda texts: tokens(*texts))
public = st.lists(st.sampled_from(PUBLIC), max_size=3).map(lambda texts: tokens(*texts))
ends = st.sampled_from(([END], [END, START], [START], [CALL], [RETURN], [END, *tokens("\n")], []))
closed = st.sampled_from(([END], [END, START], [START], [RETURN], [END, *tokens("\n")]))
analysis_headers = st.sampled_from(("analysis", " analysis", "analysis ", "analysis\n"))
starts = st.sampled_from(([], [START, *tokens("assistant")], tokens("assistant")))


@st.composite
def thoughts(draw: st.DrawFn) -> list[int]:
    """A message of analysis, however it is introduced and ended, with secrets and stray text in it.

    Without `<|start|>`, what came before may address it to a tool, and then `<|call|>` makes it a call, not a thought.
    """
    start = draw(starts)
    end = draw(ends if START in start else closed)
    header = [*start, CHANNEL, *tokens(draw(analysis_headers)), MESSAGE]
    return [*header, *draw(public), *draw(secrets), *draw(public), *end]


@st.composite
def messages(draw: st.DrawFn) -> list[int]:
    """A message that may be shown, or may be broken."""
    header = draw(st.sampled_from(("final", "commentary", "commentary to=functions.get_weather ", "nonsense", "")))
    channel = [CHANNEL, *tokens(header)] if header else []
    constrain = draw(st.sampled_from(([], [CONSTRAIN, *tokens("json")])))
    return [*draw(starts), *channel, *constrain, MESSAGE, *draw(public), *draw(ends)]


def says_nothing_marked(token: int) -> bool:
    text = harmony_encoding().decode([token]).casefold()
    return not any(word in text for word in MARKED)


anything = st.integers(0, VOCABULARY_SIZE - 1).filter(says_nothing_marked)
stray = st.lists(st.sampled_from(MARKERS) | anything, max_size=4)
turns = st.lists(thoughts() | messages() | public | stray, min_size=1, max_size=6).map(
    lambda parts: [token for part in parts for token in part]
)


async def every_response(script: list[int]) -> list[str]:
    app = application(ScriptedEngine([*script, RETURN]))
    async with async_client(app) as client:
        return [
            SEAL.sub(unwrapped, (await client.post(path, json={**body, "stream": stream})).text)
            for path, body in REQUESTS
            for stream in (False, True)
        ]


def unwrapped(seal: re.Match[str]) -> str:
    return base64.urlsafe_b64decode(seal[2] + "=" * (-len(seal[2]) % 4)).decode("latin-1")


def test_seals_are_found_where_thinking_was_asked_for() -> None:
    """Or the search below would look past them."""
    script = [CHANNEL, *tokens("analysis"), MESSAGE, *tokens("zebra"), END]
    app = application(ScriptedEngine([*script, RETURN]))

    async def texts() -> list[str]:
        async with async_client(app) as client:
            return [(await client.post(path, json=body)).text for path, body in REQUESTS]

    assert [bool(SEAL.search(text)) for text in asyncio.run(texts())] == [
        *(False, True, False, False, True, True),
        *(False, False),
    ]


@settings(max_examples=150)
@given(turns)
@example([CHANNEL, *tokens("analysis"), MESSAGE, *tokens("zebra")])
@example([CHANNEL, *tokens("analysis"), MESSAGE, *tokens("zebra"), CALL])
@example([CHANNEL, *tokens("analysis"), MESSAGE, *tokens("zebra"), END, START, *tokens("assistant")])
def test_no_stream_of_tokens_shows_its_analysis(script: list[int]) -> None:
    for response in asyncio.run(every_response(script)):
        assert not [word for word in MARKED if word in response.casefold()]


@settings(max_examples=50)
@given(turns)
def test_no_special_token_comes_out_as_text(script: list[int]) -> None:
    names = [harmony_encoding().decode([marker]) for marker in MARKERS]
    for response in asyncio.run(every_response(script)):
        assert not [name for name in names if name in response]


@pytest.mark.parametrize(("path", "body"), REQUESTS)
async def test_a_failure_amid_analysis_says_nothing_of_it(path: str, body: dict[str, object]) -> None:
    script: list[int | Fail] = [CHANNEL, *tokens("analysis"), MESSAGE, *tokens("zebra"), Fail()]
    async with async_client(application(ScriptedEngine(script))) as client:
        for stream in (False, True):
            response = await client.post(path, json={**body, "stream": stream})
            assert "error" in response.text
            assert "zebra" not in response.text
