"""What real clients have sent is answered in the SDKs' own types, and each turn goes on from the prompt before it."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from anthropic.types.beta import BetaMessage, BetaMessageTokensCount, BetaRawMessageStreamEvent
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response

from clients import application, async_client
from fakes import LONG, Script, ScriptedEngine, reply, tool_call
from llm_server.engine.types import Submit
from llm_server.harmony.encoding import harmony_encoding
from recorded_clients import Recording, Sent, follow_ups, recordings
from responses_client import events_of
from sdk_types import check

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
MESSAGES = "/v1/messages"
COUNT = "/v1/messages/count_tokens"
REFUSED = {
    "codex_image": (400, "it can not take images"),
    "codex_exec_gpt5codex": (404, "LLM_MODEL_ALIASES"),
}
"""What can not be answered: a picture, to a model that sees none, and a name that is another model's."""

OVER_HTTP = [recording for recording in recordings() if recording.requests[0].method != "WS"]
ALL = [recording for recording in OVER_HTTP if recording.name not in REFUSED]
TURNS = [recording for recording in ALL if recording.to(CHAT, MESSAGES)]


def named(recording: Recording) -> str:
    return recording.name


def script(submission: Submit) -> Script:
    """A call if the prompt has tools and nothing was called yet, else an answer."""
    text = harmony_encoding().decode(submission.prompt)
    tool = text.partition("namespace functions {")[2].partition("type ")[2].partition(" =")[0]
    if tool and "<|call|>" not in text:
        return tool_call(tool, '{"command": "echo hi"}', preamble="I look.")
    return reply("The user wants an answer.", '{"answer": "yes"}')


def engine() -> ScriptedEngine:
    return ScriptedEngine(script, status=LONG, cached_tokens=7)


async def send(http: httpx2.AsyncClient, sent: Sent) -> httpx2.Response:
    content = None if sent.body is None else json.dumps(sent.body).encode()
    return await http.request(sent.method, sent.url, headers=sent.headers, content=content)


@pytest.mark.parametrize("recording", ALL, ids=named)
async def test_every_request_is_answered_in_the_types_of_the_sdk(recording: Recording) -> None:
    async with async_client(application(engine())) as http:
        for sent in recording.requests:
            answer = await send(http, sent)
            assert answer.status_code == 200, answer.text
            _check(sent, answer)


@pytest.mark.parametrize("name", REFUSED)
async def test_what_can_not_be_answered_is_refused_with_the_reason(name: str) -> None:
    (recording,) = (each for each in OVER_HTTP if each.name == name)
    async with async_client(application(engine())) as http:
        for sent in recording.requests:
            answer = await send(http, sent)
            status, reason = REFUSED[name]
            assert answer.status_code == status
            assert reason in answer.json()["error"]["message"]


def _check(sent: Sent, answer: httpx2.Response) -> None:
    match sent.path, bool(sent.body and sent.body.get("stream")):
        case "/v1/chat/completions", False:
            check(ChatCompletion, answer.json())
        case "/v1/chat/completions", True:
            *chunks, done = events(answer.text)
            assert done == "[DONE]"
            finished = [check(ChatCompletionChunk, json.loads(chunk)) for chunk in chunks]
            assert any(choice.finish_reason for chunk in finished for choice in chunk.choices)
        case "/v1/responses", False:
            check(Response, answer.json())
        case "/v1/responses", True:
            assert events_of(answer.text)[-1]["type"] == "response.completed"
        case "/v1/messages", False:
            check(BetaMessage, answer.json())
        case "/v1/messages", True:
            heard = [json.loads(event) for event in events(answer.text)]
            for event in heard:
                assert event["type"] == "ping" or check(BetaRawMessageStreamEvent, event)
            assert heard[-1] == {"type": "message_stop"}
        case "/v1/messages/count_tokens", _:
            check(BetaMessageTokensCount, answer.json())


def events(body: str) -> list[str]:
    """The data of each event."""
    return [line.removeprefix("data: ") for line in body.split("\n") if line.startswith("data: ")]


async def prompts(requests: list[Sent]) -> list[list[int]]:
    """What the engine is given for each of them."""
    asked = engine()
    async with async_client(application(asked)) as http:
        for sent in requests:
            assert (await send(http, sent)).status_code == 200
    return [submission.prompt for submission in asked.submissions]


FOLLOW_UPS = {
    "claude_code_tool_turn": 1,
    "claude_code_toolsearch": 1,
    "codex_0.63_chat": 1,
    "codex_0.63_resp": 1,
    "codex_exec_responses": 1,
    "codex_oss_lmstudio": 1,
    "codex_resume": 1,
    "langchain": 3,
    "llm_cli": 1,
    "openai_agents_js_gptoss_compat": 4,
    "openai_agents_python": 4,
    "opencode_openai": 1,
    "opencode_openai-compatible": 1,
}
"""How many requests of each sequence go on from an earlier one."""


@pytest.mark.parametrize("name", FOLLOW_UPS)
async def test_a_turn_goes_on_from_the_prompt_of_the_turn_before(name: str) -> None:
    (recording,) = (each for each in ALL if each.name == name)
    pairs = 0
    for path in (CHAT, MESSAGES, RESPONSES):
        requests = recording.to(path)
        run = await prompts(requests)
        for earlier, later in follow_ups(requests):
            pairs += 1
            assert_goes_on(run[earlier], run[later])
    assert pairs == FOLLOW_UPS[name]


def assert_goes_on(before: list[int], after: list[int]) -> None:
    """All of the prompt but `<|start|>assistant`, which is followed by a channel or a recipient."""
    assert after[: len(before) - 2] == before[:-2]
    assert len(after) > len(before)


CLAUDE_CODE = [
    recording for recording in TURNS if recording.name in ("claude_code_tool_turn", "claude_code_toolsearch")
]


def as_it_was(sent: Sent, number: int) -> Sent:
    """With what the recording has filler for: a billing line that is new in each request, and a token countdown."""
    body = deepcopy(sent.body)
    billing = f"x-anthropic-billing-header: cc_version=2.1.330.{number:03x}; cc_entrypoint=sdk-cli; cch={number:05x};"
    left = f"<total_tokens>{15_000_000 - 1_000 * number} tokens left</total_tokens>"
    body["system"][0]["text"] = billing
    body["system"][-1]["text"] += f"\n{left}"
    body["messages"].append({"role": "system", "content": left})
    return replace(sent, body=body)


@pytest.mark.parametrize("recording", CLAUDE_CODE, ids=named)
async def test_what_claude_code_writes_anew_on_every_turn_changes_nothing(recording: Recording) -> None:
    requests = recording.to(MESSAGES)
    marked = [as_it_was(sent, number) for number, sent in enumerate(requests)]
    first, second = await prompts(marked)
    assert_goes_on(first, second)


@pytest.mark.parametrize("recording", CLAUDE_CODE, ids=named)
async def test_a_marked_prompt_is_counted_as_it_is_run(recording: Recording) -> None:
    sent = as_it_was(recording.to(MESSAGES)[0], 1)
    asked = engine()
    counted: dict[str, Any] = {key: value for key, value in sent.body.items() if key not in ("max_tokens", "stream")}
    async with async_client(application(asked)) as http:
        await send(http, sent)
        answer = await send(http, replace(sent, path=COUNT, body=counted))
    assert answer.json()["input_tokens"] == len(asked.submissions[0].prompt)
