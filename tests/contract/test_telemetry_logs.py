"""One line of the log for each request, `Server-Timing` for its client, and never a word of what was said."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Sequence
from typing import Any

import httpx2
import pytest

from clients import application, async_anthropic, async_client, async_openai
from fakes import Fail, ScriptedEngine, message, reply
from llm_server.conversation import AssistantText, Conversation, Instructions, Tool, UserText
from llm_server.harmony.encoding import END, is_special, token_bytes
from llm_server.harmony.render import Prompt, render
from llm_server.observability.logging import JsonFormatter

TRACE = "0af7651916cd43dd8448eb211c80319c"
CHAT = "/v1/chat/completions"
BODY: dict[str, Any] = {
    "model": "gpt-oss-20b",
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
    "tools": [{"type": "function", "function": {"name": "now", "description": "The time."}}],
}
TIMING = re.compile(
    r"render;dur=[\d.e-]+, grammar;dur=[\d.e-]+, queue;dur=[\d.e-]+, prefill;dur=[\d.e-]+, decode;dur=[\d.e-]+,"
    r' cache;desc="7 of \d+ tokens"'
)


class Lines(logging.Handler):
    """What a process writes to its log, as JSON objects."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter("api"))
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(self.format(record)))


@pytest.fixture
def log() -> Iterator[list[dict[str, Any]]]:
    handler, logger = Lines(), logging.getLogger("llm_server.requests")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler.lines
    logger.removeHandler(handler)
    logger.setLevel(before)


def decoded(tokens: Sequence[int]) -> str:
    return b"".join(token_bytes(token) for token in tokens if not is_special(token)).decode(errors="replace")


def client(engine: ScriptedEngine | None = None) -> httpx2.AsyncClient:
    return async_client(application(engine or ScriptedEngine(reply("Hm.", "Hello"), cached_tokens=7, diverged_at=70)))


async def test_a_request_has_one_line_that_says_what_it_cost(log: list[dict[str, Any]]) -> None:
    response = await client().post(CHAT, json=BODY, headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"})
    (line,) = log
    usage = response.json()["usage"]
    expected = {
        "message": "POST /v1/chat/completions 200",
        "level": "info",
        "request_id": response.headers["x-request-id"],
        "trace_id": TRACE,
        "route": CHAT,
        "status": 200,
        "finish": "stop",
        "prompt_tokens": usage["prompt_tokens"],
        "cached_tokens": 7,
        "completion_tokens": usage["completion_tokens"],
        "reasoning_tokens": usage["completion_tokens_details"]["reasoning_tokens"],
        "diverged_at": 70,
    }
    assert expected.items() <= line.items()
    assert {"seconds", "first_token_ms", "queue_ms", "prefill_ms", "decode_ms"} <= line.keys()


def place(text: str, prompt: Prompt) -> int:
    """Index of the first token of the prompt after which this text has begun."""
    return next(index for index in range(len(prompt.tokens)) if text in decoded(prompt.tokens[: index + 1]))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("ChatGPT", "system"),
        ("Be brief", "instructions"),
        ("namespace", "tools"),
        ("The time", "tools"),
        ("Hello", "message 0"),
        ("Well", "message 1"),
        ("Go on", "message 2"),
    ],
)
async def test_where_a_prompt_left_the_known_ones_is_said(text: str, part: str, log: list[dict[str, Any]]) -> None:
    said = (Instructions("Be brief."), UserText("Hello"), AssistantText("Well."), UserText("Go on"))
    texts = ("Be brief.", "Hello", "Well.", "Go on")
    index = place(text, render(Conversation(said, (Tool("now", "The time."),))))
    roles = ("system", "user", "assistant", "user")
    messages = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]
    engine = ScriptedEngine(reply("Hm.", "Hello"), diverged_at=index)
    response = await client(engine).post(CHAT, json={**BODY, "messages": messages})
    assert response.status_code == 200
    assert (log[0]["diverged_at"], log[0]["diverged_in"]) == (index, part)


async def test_a_prompt_that_left_no_known_one_is_not_said_to(log: list[dict[str, Any]]) -> None:
    await client(ScriptedEngine(reply("Hm.", "Hello"), diverged_at=-1)).post(CHAT, json=BODY)
    assert "diverged_in" not in log[0]


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [({**BODY, "temperature": "hot"}, 400, "invalid_request"), ({**BODY, "model": "none"}, 404, "model_not_found")],
)
async def test_a_refusal_has_a_line_with_its_code(
    body: dict[str, Any], status: int, error: str, log: list[dict[str, Any]]
) -> None:
    await client().post(CHAT, json=body)
    (line,) = log
    assert (line["status"], line["error"], line["level"]) == (status, error, "info")


async def test_a_stream_that_breaks_has_a_line_that_warns(log: list[dict[str, Any]]) -> None:
    engine = ScriptedEngine([*message("analysis", "Hm.", END), Fail()])
    await client(engine).post(CHAT, json={**BODY, "stream": True})
    (line,) = log
    assert (line["status"], line["failed"], line["finish"], line["level"]) == (
        200,
        "engine_unavailable",
        "error",
        "warning",
    )


async def test_probes_have_no_lines(log: list[dict[str, Any]]) -> None:
    http = client()
    for path in ("/livez", "/readyz", "/health", "/metrics"):
        await http.get(path)
    assert log == []


@pytest.mark.parametrize("path", [CHAT, "/v1/messages", "/v1/responses"])
async def test_a_whole_answer_says_in_its_header_where_the_time_went(path: str) -> None:
    body: dict[str, Any] = {
        CHAT: BODY,
        "/v1/messages": {"model": "claude-test", "max_tokens": 50, "messages": [{"role": "user", "content": "Hello"}]},
        "/v1/responses": {"model": "gpt-oss-20b", "input": "Hello"},
    }[path]
    response = await client().post(path, json=body)
    assert response.status_code == 200
    assert TIMING.fullmatch(response.headers["server-timing"])


async def test_a_stream_says_so_in_a_comment_after_its_end() -> None:
    response = await client().post(CHAT, json={**BODY, "stream": True})
    assert "decode" not in response.headers.get("server-timing", "")
    body, _, comment = response.text.partition("data: [DONE]\n\n")
    assert body
    assert TIMING.fullmatch(comment.removeprefix(": server-timing ").removesuffix("\n\n"))


async def test_a_stream_that_breaks_does_not_end_like_a_good_one() -> None:
    engine = ScriptedEngine([*message("analysis", "Hm.", END), Fail()])
    response = await client(engine).post(CHAT, json={**BODY, "stream": True})
    assert "server-timing" not in response.text


async def test_official_clients_do_not_mind_the_comment() -> None:
    app = application(ScriptedEngine(reply("Hm.", "Hello")))
    async with async_openai(app) as chat:
        stream = await chat.chat.completions.create(
            model="gpt-oss-20b", messages=[{"role": "user", "content": "Hello"}], stream=True
        )
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "Hello"
    async with (
        async_anthropic(app) as claude,
        claude.messages.stream(
            model="claude-test", max_tokens=50, messages=[{"role": "user", "content": "Hello"}]
        ) as messages,
    ):
        assert await messages.get_final_text() == "Hello"
