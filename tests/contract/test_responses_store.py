"""What is kept of responses, and what is not: chains, references, pages, limits, and never a word of the analysis."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from openai.types.responses import Response, ResponseItemList

from clients import application, async_client
from fakes import Script, ScriptedEngine, message, next_message, reply, text_tokens, tool_call
from llm_server.engine.types import Submit
from llm_server.harmony.encoding import CALL, CHANNEL, END, MESSAGE, harmony_encoding
from llm_server.response_store import FILE_NAME
from responses_client import PATH, WEATHER, events_of, get, kinds, post, streamed, whole
from sdk_types import check

PATCH: dict[str, Any] = {"type": "custom", "name": "apply_patch"}
EVERYTHING = [
    *message("analysis", "The zebra.", END),
    *next_message(),
    *message("commentary", "Let me look.", END),
    *next_message(),
    *message("commentary", '{"city":"Oslo"}', END, "functions.get_weather"),
    *next_message(),
    *[CHANNEL, *text_tokens("commentary to=functions.apply_patch"), MESSAGE, *text_tokens("+x"), CALL],
]


def prompt(submission: Submit) -> str:
    return str(harmony_encoding().decode(submission.prompt))


def contents(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def types(items: Iterable[Any]) -> list[str]:
    return [item["type"] for item in items]


async def items(app: FastAPI, identity: str, **query: Any) -> dict[str, Any]:
    response = await get(app, f"{identity}/input_items", **query)
    assert response.status_code == 200, response.text
    listed: dict[str, Any] = response.json()
    check(ResponseItemList, listed)
    return listed


@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_kept_is_what_was_given(stream: bool) -> None:
    app = application(ScriptedEngine(EVERYTHING))
    asked: dict[str, Any] = {"input": "Hi", "tools": [WEATHER, PATCH], "metadata": {"a": "b"}}
    given = (await streamed(app, **asked))[-1]["response"] if stream else await whole(app, **asked)
    kept = (await get(app, given["id"])).json()
    check(Response, kept)
    assert kept == given


async def test_an_answer_is_kept_before_its_client_knows_that_it_is_over(tmp_path: Path) -> None:
    app = application(ScriptedEngine(reply("Hm.", "Hi")), state_dir=tmp_path)
    events = await streamed(app, input="Hi")
    assert (await get(app, events[-1]["response"]["id"])).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
async def test_store_false_leaves_nothing_behind(stream: bool, tmp_path: Path) -> None:
    app = application(ScriptedEngine(EVERYTHING), state_dir=tmp_path)
    response = await post(app, input="Hi", tools=[WEATHER, PATCH], store=False, stream=stream)
    given = events_of(response.text)[-1]["response"] if stream else response.json()
    assert given["store"] is False
    assert not contents(tmp_path)
    assert (await get(app, given["id"])).status_code == 404


async def test_nothing_is_kept_where_nothing_may_be(tmp_path: Path) -> None:
    app = application(ScriptedEngine(EVERYTHING), state_dir=tmp_path, store_max_responses=0)
    given = await whole(app, input="Hi", tools=[WEATHER, PATCH], store=True)
    assert given["store"] is False
    assert not contents(tmp_path)


async def test_a_server_that_may_keep_nothing_forgets_what_was_kept_before_it(tmp_path: Path) -> None:
    made = await whole(application(ScriptedEngine(reply("Hm.", "Hi")), state_dir=tmp_path), input="zebra")
    assert b"zebra" in contents(tmp_path)
    app = application(ScriptedEngine(), state_dir=tmp_path, store_max_responses=0)
    async with app.router.lifespan_context(app):
        assert (await get(app, made["id"])).status_code == 404
    assert b"zebra" not in contents(tmp_path)


async def test_no_word_of_the_analysis_is_in_the_file(tmp_path: Path) -> None:
    """Neither of this server's, nor of another one's that a client has sent along."""
    app = application(ScriptedEngine(EVERYTHING), state_dir=tmp_path)
    foreign = {
        "type": "reasoning",
        "id": "rs_1",
        "content": [{"type": "reasoning_text", "text": "The quokka."}],
        "summary": [{"type": "summary_text", "text": "The quokka."}],
    }
    said = {"role": "assistant", "content": [{"type": "reasoning_text", "text": "The quokka."}]}
    await whole(app, input=[foreign, said, {"role": "user", "content": "A question."}], tools=[WEATHER, PATCH])
    stored = contents(tmp_path)
    assert b"A question." in stored
    assert b"Let me look." in stored
    assert b"encrypted_content" in stored
    assert b"zebra" not in stored
    assert b"quokka" not in stored


async def test_a_response_that_can_not_be_stored_is_given_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE_NAME).mkdir()
    app = application(ScriptedEngine(reply("Hm.", "Hi")), state_dir=tmp_path)
    for given in (await whole(app, input="zebra"), (await streamed(app, input="zebra"))[-1]["response"]):
        assert (given["status"], given["store"]) == ("completed", False)
    assert caplog.text.count("could not be stored") == 2
    assert "zebra" not in caplog.text


async def test_a_store_that_can_not_be_read_is_told_of(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"not a database at all" * 100)
    app = application(ScriptedEngine(reply("Hm.", "Hi")), state_dir=tmp_path)
    asked: list[dict[str, Any]] = [
        {"input": "Hi", "previous_response_id": "resp_1"},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
    ]
    answers = [await post(app, **body) for body in asked]
    answers += [await get(app, "resp_1"), await get(app, "resp_1/input_items")]
    assert {answer.status_code for answer in answers} == {500}
    assert {answer.json()["error"]["code"] for answer in answers} == {"store_unavailable"}


async def test_the_store_survives_a_restart(tmp_path: Path) -> None:
    before, after = ScriptedEngine(reply("Hm.", "The first.")), ScriptedEngine(reply("Hm.", "The second."))
    first = await whole(application(before, state_dir=tmp_path), input="Hi")
    app = application(after, state_dir=tmp_path)
    assert (await get(app, first["id"])).json() == first
    await whole(app, input="And?", previous_response_id=first["id"])
    assert "The first." in prompt(after.submissions[0])


# What a request goes on from


async def test_a_chain_can_branch() -> None:
    engine = ScriptedEngine(lambda submission: reply("Hm.", f"Answer {prompt(submission).count('<|start|>user')}."))
    app = application(engine)
    first = await whole(app, input="Root.")
    left = await whole(app, input="Left.", previous_response_id=first["id"])
    right = await whole(app, input="Right.", previous_response_id=first["id"])
    await whole(app, input="Leaf.", previous_response_id=left["id"])
    assert "Left." in prompt(engine.submissions[-1])
    assert "Right." not in prompt(engine.submissions[-1])
    assert types((await items(app, right["id"]))["data"]) == ["message", "message", "reasoning", "message"]


async def test_what_goes_on_from_a_deleted_response_can_be_read_but_not_continued() -> None:
    app = application(ScriptedEngine(reply("Hm.", "Hi")))
    first = await whole(app, input="One.")
    second = await whole(app, input="Two.", previous_response_id=first["id"])
    async with async_client(app) as client:
        assert (await client.delete(f"{PATH}/{first['id']}")).json()["deleted"] is True
    assert (await get(app, second["id"])).status_code == 200
    response = await post(app, input="Three.", previous_response_id=second["id"])
    assert response.json()["error"]["code"] == "previous_response_not_found"


async def test_an_answer_that_was_cut_off_is_gone_on_from() -> None:
    def script(submission: Submit) -> Script:
        is_first = "Go on." not in prompt(submission)
        return tool_call("get_weather", '{"city":"Oslo"}', preamble="Wait.")[:-4] if is_first else reply("Hm.", "Well.")

    engine = ScriptedEngine(script)
    app = application(engine)
    cut = await whole(app, input="Hi", tools=[WEATHER])
    assert cut["status"] == "incomplete"
    assert (await get(app, cut["id"])).json() == cut
    await whole(app, input="Go on.", tools=[WEATHER], previous_response_id=cut["id"])
    assert "Wait." in prompt(engine.submissions[1])
    assert "Oslo" not in prompt(engine.submissions[1])


async def test_items_may_be_sent_by_their_ids_alone() -> None:
    """As the AI SDK does with everything that it knows to be stored."""

    def answering(submission: Submit) -> Script:
        return reply("Known.", "Sunny.") if "22 degrees" in prompt(submission) else tool_call("get_weather", "{}")

    engine = ScriptedEngine(answering)
    app = application(engine)
    first = await whole(app, input="What is the weather?", tools=[WEATHER])
    history = [
        {"role": "user", "content": "What is the weather?"},
        *({"type": "item_reference", "id": item["id"]} for item in first["output"][:-1]),
        {"id": first["output"][-1]["id"]},
        {"type": "function_call_output", "call_id": first["output"][-1]["call_id"], "output": "22 degrees"},
    ]
    second = await whole(app, input=history, tools=[WEATHER])
    assert second["output"][-1]["content"][0]["text"] == "Sunny."
    before, after = [submission.prompt for submission in engine.submissions]
    assert after[: len(before)] == before
    assert "A tool is needed." in prompt(engine.submissions[1])
    again = await whole(app, input=[{"id": second["output"][-1]["id"]}, {"role": "user", "content": "Really?"}])
    assert again["status"] == "completed"


# Lists


async def test_the_list_has_everything_that_was_asked_with_ids_and_in_the_apis_form() -> None:
    app = application(ScriptedEngine(EVERYTHING))
    first = await whole(app, input="Hi", tools=[WEATHER, PATCH])
    calls = {item["type"]: item["call_id"] for item in first["output"] if "call_id" in item}
    mixed = [
        {"role": "system", "content": "Be."},
        {"role": "assistant", "content": "Earlier.", "phase": "final_answer"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"type": "reasoning", "summary": [], "encrypted_content": "seal"},
        {
            "type": "function_call_output",
            "call_id": calls["function_call"],
            "output": [{"type": "input_text", "text": "x"}],
        },
        {"type": "custom_tool_call_output", "call_id": calls["custom_tool_call"], "output": "y"},
        {"type": "function_call_output", "name": "goal_objective", "namespace": "agent", "output": "z"},
        {"id": "msg_mine", "role": "user", "content": [{"type": "input_text", "text": "And?"}]},
    ]
    second = await whole(app, input=mixed, tools=[WEATHER, PATCH], previous_response_id=first["id"])
    listed = (await items(app, second["id"], order="asc"))["data"]
    assert types(listed) == [
        *["message", "reasoning", "message", "function_call", "custom_tool_call"],
        *["message", "message", "message", "reasoning", "function_call_output", "custom_tool_call_output"],
        *["function_call_output", "message"],
    ]
    assert listed[-1]["id"] == "msg_mine"
    assert len({item["id"] for item in listed}) == len(listed)
    assert "seal" not in json.dumps(listed)
    shown = (await items(app, second["id"], order="asc", include="reasoning.encrypted_content"))["data"]
    assert shown[8]["encrypted_content"] == "seal"
    assert (await items(app, second["id"]))["data"] == listed[::-1]


@pytest.mark.parametrize(
    "item",
    [
        {"type": "shell_call", "call_id": "call_1", "action": {"commands": ["ls"]}},
        {"type": "shell_call_output", "call_id": "call_1", "status": None, "output": []},
        {"type": "computer_call_output", "call_id": "call_1", "output": {"type": "computer_screenshot"}},
        {"type": "tool_search_call", "call_id": "call_1", "arguments": {}},
        {"type": "tool_search_output", "call_id": "call_1", "tools": []},
        {"type": "apply_patch_call_output", "call_id": "call_1", "status": "failed"},
    ],
    ids=lambda item: item["type"],
)
async def test_what_a_client_need_not_say_of_an_item_is_in_the_list(item: Any) -> None:
    app = application(ScriptedEngine(reply("Hm.", "Hi")))
    made = await whole(app, input=[item, {"role": "user", "content": "Hi"}])
    [*_, listed] = (await items(app, made["id"]))["data"]
    assert listed["status"] == (item.get("status") or "completed")


async def test_pages_follow_each_other() -> None:
    app = application(ScriptedEngine(reply("Hm.", "Hi")))
    asked = [{"role": "user", "content": f"Message {number}."} for number in range(7)]
    made = await whole(app, input=asked)
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 3, "order": "asc"}
    for size, more in ((3, True), (3, True), (1, False)):
        listed = await items(app, made["id"], **query)
        assert (len(listed["data"]), listed["has_more"]) == (size, more)
        assert (listed["first_id"], listed["last_id"]) == (listed["data"][0]["id"], listed["data"][-1]["id"])
        seen += [item["content"][0]["text"] for item in listed["data"]]
        query["after"] = listed["last_id"]
    assert seen == [message["content"] for message in asked]
    assert (await items(app, made["id"], **query))["data"] == []


async def test_pages_end_although_ids_were_used_twice() -> None:
    """By the caller, and by a reference to what the response goes on from anyhow."""
    app = application(ScriptedEngine(reply("Hm.", "Hi")))
    asked = [{"type": "message", "id": "msg_mine", "role": "user", "content": text} for text in ("One", "Two")]
    first = await whole(app, input=asked)
    second = await whole(app, input=[{"id": "msg_mine"}, *asked[1:]], previous_response_id=first["id"])
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 1, "order": "asc", "include": "reasoning.encrypted_content"}
    for more in (True, True, True, True, True, False):
        listed = await items(app, second["id"], **query)
        assert listed["has_more"] is more
        seen.append(listed["last_id"])
        query["after"] = listed["last_id"]
    assert seen[0] == "msg_mine"
    assert len(set(seen)) == 6


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"limit": "all"}, "limit"),
        ({"order": "random"}, "order"),
        ({"after": "msg_unknown"}, "after"),
    ],
)
async def test_a_wrong_query_is_named(query: Any, param: str) -> None:
    app = application(ScriptedEngine(reply("Hm.", "Hi")))
    made = await whole(app, input="Hi")
    response = await get(app, f"{made['id']}/input_items", **query)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize("path", ["resp_unknown", "resp_unknown/input_items", "compact", "x" * 3000])
async def test_what_is_not_kept_is_not_found(path: str) -> None:
    response = await get(application(ScriptedEngine()), path)
    assert response.status_code == 404
    assert "x" * 20 not in response.text


# Streams of what is kept


async def test_a_kept_response_is_streamed_with_events_that_the_api_has() -> None:
    app = application(ScriptedEngine(EVERYTHING))
    made = await whole(app, input="Hi", tools=[WEATHER, PATCH], include=["message.output_text.logprobs"])
    events = events_of((await get(app, made["id"], stream="true")).text)
    live = await streamed(app, input="Hi", tools=[WEATHER, PATCH])
    assert kinds(events) == [kind for at, kind in enumerate(kinds(live)) if kind != kinds(live)[at - 1]]
    assert events[-1]["response"] == made
    rest = (await get(app, made["id"], stream="true", starting_after=len(events) - 3)).text
    assert rest.count("event: ") == 2


CALL_TURN = tool_call("get_weather", '{"city":"Oslo"}')


@pytest.mark.parametrize("script", [reply("Hm.", "Hi there, you")[:-2], CALL_TURN[:-4]], ids=["text", "call"])
async def test_a_kept_response_that_was_cut_off_is_streamed_as_it_ended(script: Script) -> None:
    app = application(ScriptedEngine(script))
    live = await streamed(app, input="Hi", tools=[WEATHER])
    events = events_of((await get(app, live[-1]["response"]["id"], stream="true")).text)
    assert kinds(events) == [kind for at, kind in enumerate(kinds(live)) if kind != kinds(live)[at - 1]]
    assert kinds(events)[-1] == "incomplete"
