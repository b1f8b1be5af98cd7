"""What requests of the Responses API lead to: truncation, grammars of custom tools, sampling, compaction."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs
from openai.types.responses import CompactedResponse

from clients import application, async_client
from fakes import LONG, READY, Script, ScriptedEngine, message, reply, text_tokens, tool_call
from llm_server.api.openai_responses.compaction import LONGEST_SUMMARY
from llm_server.conversation import GenerationDefaults
from llm_server.engine.types import Submit
from llm_server.harmony.encoding import CALL, CHANNEL, MESSAGE, harmony_encoding
from responses_client import MODEL, PATH, WEATHER, post, streamed, whole
from sdk_types import check

CODEX_PATCH = """start: begin_patch hunk+ end_patch
begin_patch: "*** Begin Patch" LF
end_patch: "*** End Patch" LF?

hunk: add_hunk | delete_hunk | update_hunk
add_hunk: "*** Add File: " filename LF add_line+
delete_hunk: "*** Delete File: " filename LF
update_hunk: "*** Update File: " filename LF change_move? change?

filename: /(.+)/
add_line: "+" /(.*)/ LF -> line

change_move: "*** Move to: " filename LF
change: (change_context | change_line)+ eof_line?
change_context: ("@@" | "@@ " /(.+)/) LF
change_line: ("+" | "-" | " ") /(.*)/ LF
eof_line: "*** End of File" LF

%import common.LF
"""
"""The grammar of a patch as coding agents declare it."""


def prompt(submission: Submit) -> str:
    return str(harmony_encoding().decode(submission.prompt))


def said(count: int, words: int = 200) -> list[dict[str, Any]]:
    return [{"role": "user", "content": f"Message {number}: {'word ' * words}"} for number in range(count)]


def engine(script: Script = ()) -> ScriptedEngine:
    return ScriptedEngine(script or reply("Hm.", "Hi"))


# Truncation


def kept_messages(submission: Submit, count: int) -> list[int]:
    return [number for number in range(count) if f"Message {number}:" in prompt(submission)]


@pytest.mark.parametrize("limit", [None, 100, 1000])
async def test_the_beginning_of_a_long_conversation_is_left_out_if_it_may_be(limit: int | None) -> None:
    scripted = engine()
    asked: dict[str, Any] = {"input": said(40), "instructions": "Be kind.", "max_output_tokens": limit}
    answer = await whole(application(scripted), **asked, truncation="auto")
    assert (answer["status"], answer["truncation"]) == ("completed", "auto")
    context = READY.model.context_length if READY.model else 0
    room = context - len(scripted.submissions[0].prompt)
    assert room >= min(limit or context, context // 4)
    assert room < min(limit or context, context // 4) + 250, "no more is left out than has to be"
    kept = kept_messages(scripted.submissions[0], 40)
    assert kept == list(range(kept[0], 40))
    assert "Be kind." in prompt(scripted.submissions[0])


async def test_a_conversation_that_fits_is_left_alone() -> None:
    scripted = engine()
    await whole(application(scripted), input=said(10), truncation="auto")
    assert kept_messages(scripted.submissions[0], 10) == list(range(10))


@pytest.mark.parametrize("truncation", ["disabled", None])
async def test_nothing_is_left_out_unasked(truncation: str | None) -> None:
    response = await post(application(engine()), input=said(40), truncation=truncation)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "context_length_exceeded")


async def test_a_message_that_is_too_long_by_itself_is_refused() -> None:
    response = await post(application(engine()), input=said(1, 5000), truncation="auto")
    assert (response.status_code, response.json()["error"]["code"]) == (400, "context_length_exceeded")


async def test_a_result_goes_with_its_call() -> None:
    scripted = engine()
    history: list[Any] = []
    for number in range(20):
        arguments = f'{{"city": "{"far " * 100}"}}'
        history += [
            {"type": "function_call", "call_id": f"call_{number}", "name": "get_weather", "arguments": arguments},
            {
                "type": "function_call_output",
                "call_id": f"call_{number}",
                "output": f"Result {number}." + "cold " * 100,
            },
        ]
    await whole(application(scripted), input=[*history, *said(1)], tools=[WEATHER], truncation="auto")
    seen = prompt(scripted.submissions[0])
    assert 0 < seen.count("Result ") < 20
    assert seen.count("Result ") == seen.count("assistant to=functions.get_weather<|channel|>")


def called(number: int, output: str) -> list[dict[str, Any]]:
    call_id = f"call_{number}"
    return [
        {"type": "function_call", "call_id": call_id, "name": "get_weather", "arguments": '{"city": "Oslo"}'},
        {"type": "function_call_output", "call_id": call_id, "output": output},
    ]


async def test_the_last_result_stays_with_its_call() -> None:
    fitting = engine()
    await whole(application(fitting), input=[*said(40), *called(1, "cold " * 200)], tools=[WEATHER], truncation="auto")
    assert "assistant to=functions.get_weather<|channel|>" in prompt(fitting.submissions[0])
    assert "cold cold" in prompt(fitting.submissions[0])
    (call, result), (other_call, other_result) = called(1, "cold " * 200), called(2, "warm")
    parallel = engine()
    asked = [*said(40), call, other_call, result, other_result]
    await whole(application(parallel), input=asked, tools=[WEATHER], truncation="auto")
    assert prompt(parallel.submissions[0]).count("assistant to=functions.get_weather<|channel|>") == 2


async def test_a_result_that_is_too_long_by_itself_is_refused() -> None:
    asked = [*said(1), *called(1, "cold " * 5000)]
    response = await post(application(engine()), input=asked, tools=[WEATHER], truncation="auto")
    assert (response.status_code, response.json()["error"]["code"]) == (400, "context_length_exceeded")


async def test_a_message_that_is_too_long_to_be_summed_up_is_not_left_out() -> None:
    refused = await post(application(engine()), "/v1/responses/compact", input=said(1, 5000))
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "context_length_exceeded")
    scripted = engine()
    assert (await post(application(scripted), "/v1/responses/compact", input=said(40))).status_code == 200
    assert kept_messages(scripted.submissions[0], 40)[-1] == 39


# Custom tools


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (None, "anything at all\n"),
        ({"type": "text"}, '{"even": "JSON"}'),
        ({"type": "grammar", "syntax": "regex", "definition": r"[a-z]{2}-\d+"}, "ab-12"),
        ({"type": "grammar", "syntax": "lark", "definition": 'start: "SELECT " /[a-z]+/'}, "SELECT x"),
        (
            {"type": "grammar", "syntax": "lark", "definition": CODEX_PATCH},
            "*** Begin Patch\n*** Delete File: a.txt\n*** End Patch\n",
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_custom_tools_input_comes_back_to_the_character(form: Any, text: str, stream: bool) -> None:
    header = [CHANNEL, *text_tokens("commentary to=functions.edit"), MESSAGE]
    scripted = engine([*header, *text_tokens(text), CALL])
    tool = {"type": "custom", "name": "edit", "description": "Edits.", **({"format": form} if form else {})}
    app = application(scripted)
    asked: dict[str, Any] = {"input": "Hi", "tools": [tool], "tool_choice": {"type": "custom", "name": "edit"}}
    answer = (await streamed(app, **asked))[-1]["response"] if stream else await whole(app, **asked)
    assert [(item["name"], item["input"]) for item in answer["output"]] == [("edit", text)]
    assert answer["tools"][0]["format"] == (form or {"type": "text"})
    assert "to=functions.edit" in scripted.submissions[0].grammar


@pytest.mark.parametrize(
    "form",
    [
        {"type": "grammar", "syntax": "regex", "definition": "a{"},
        {"type": "grammar", "syntax": "lark", "definition": "start: missing"},
        {"type": "grammar", "syntax": "lark", "definition": ""},
        {"type": "grammar", "syntax": "ebnf", "definition": "x"},
    ],
)
async def test_a_grammar_that_is_none_is_refused(form: Any) -> None:
    response = await post(application(engine()), input="Hi", tools=[{"type": "custom", "name": "edit", "format": form}])
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


# Sampling


@pytest.mark.parametrize(("asked", "told"), [({}, (0.6, 0.9)), ({"temperature": 1, "top_p": 0.5}, (1.0, 0.5))])
async def test_the_response_tells_how_it_was_sampled(asked: dict[str, Any], told: tuple[float, float]) -> None:
    assert READY.model is not None
    recommended = structs.replace(READY.model, defaults=GenerationDefaults(temperature=0.6, top_p=0.9))
    scripted = ScriptedEngine(reply("Hm.", "Hi"), status=structs.replace(READY, model=recommended))
    answer = (await post(application(scripted), input="Hi", **asked)).json()
    sampling = scripted.submissions[0].sampling
    assert (answer["temperature"], answer["top_p"]) == (sampling.temperature, sampling.top_p) == told


# Bodies


async def test_bodies_are_read_as_strictly_as_everywhere() -> None:
    app = application(engine())
    async with async_client(app) as client:
        for body in ("{", "[]", '{"model": "a", "model": "b"}', '{"input": NaN}', '{"input": "\\ud800"}'):
            response = await client.post(PATH, content=body, headers={"content-type": "application/json"})
            assert (response.status_code, response.json()["error"]["type"]) == (400, "invalid_request_error")
        wrong = await client.post(
            PATH, content="model=x", headers={"content-type": "application/x-www-form-urlencoded"}
        )
        assert wrong.status_code == 415
        assert (await client.get(PATH)).status_code == 405


async def test_an_anthropic_header_does_not_change_the_dialect() -> None:
    async with async_client(application(engine()), **{"anthropic-version": "2023-06-01"}) as client:
        response = await client.post(PATH, json={"model": "gpt-4", "input": "Hi"})
    assert response.json()["error"]["code"] == "model_not_found"


async def test_a_warm_up_with_nothing_to_say_is_answered() -> None:
    """Codex with `--oss` begins so."""
    answer = await whole(application(engine()), input="", max_output_tokens=1)
    assert (answer["status"], answer["usage"]["output_tokens"]) == ("incomplete", 1)


# Compaction


@pytest.mark.parametrize("body", [{"input": []}, {}, {"input": [{"type": "web_search_call"}]}])
async def test_there_must_be_something_to_compact(body: Any) -> None:
    response = await post(application(engine()), f"{PATH}/compact", **body)
    assert (response.status_code, response.json()["error"]["param"]) == (400, "input")


async def test_a_conversation_that_is_too_long_is_compacted_as_far_as_it_fits() -> None:
    scripted = engine(reply("Hm.", "A summary."))
    response = await post(application(scripted), f"{PATH}/compact", input=said(40))
    check(CompactedResponse, response.json())
    kept = kept_messages(scripted.submissions[0], 40)
    assert kept == list(range(kept[0], 40))


async def test_a_summary_has_an_end() -> None:
    """A model that repeats itself would write on until the context is full, which the summary is to make room in."""
    scripted = ScriptedEngine(reply("Hm.", "A summary."), status=LONG)
    await post(application(scripted), f"{PATH}/compact", input="Hi")
    assert scripted.submissions[0].max_tokens == LONGEST_SUMMARY


async def test_a_stored_response_can_be_compacted() -> None:
    scripted = engine(reply("The zebra.", "An answer."))
    app = application(scripted)
    first = await whole(app, input="A question.")
    response = await post(app, f"{PATH}/compact", previous_response_id=first["id"], instructions="Be kind.")
    check(CompactedResponse, response.json())
    seen = prompt(scripted.submissions[1])
    assert all(text in seen for text in ("Be kind.", "A question.", "An answer."))


async def test_a_model_without_a_summary_is_an_error() -> None:
    response = await post(application(engine(reply("Hm.", " "))), f"{PATH}/compact", input="Hi")
    assert (response.status_code, response.json()["error"]["code"]) == (500, "generation_failed")


async def test_a_compacted_item_of_another_server_is_refused() -> None:
    compacted = (await post(application(engine()), f"{PATH}/compact", input="Hi")).json()["output"]
    asked = {"model": MODEL, "input": [*compacted, {"role": "user", "content": "And?"}]}
    async with async_client(application(engine(), seal_key="another")) as client:
        response = await client.post(PATH, json=asked)
    assert (response.status_code, response.json()["error"]["param"]) == (400, "input[0].encrypted_content")


async def test_a_sealed_thought_is_no_summary() -> None:
    """It would put the analysis where the model could be asked to repeat it."""
    app = application(engine(tool_call("get_weather", "{}")))
    answer = await whole(app, input="Hi", tools=[WEATHER], include=["reasoning.encrypted_content"])
    seal = answer["output"][0]["encrypted_content"]
    response = await post(app, input=[{"type": "compaction", "encrypted_content": seal}])
    assert response.status_code == 400


async def test_two_calls_at_once_unless_it_was_forbidden() -> None:
    scripted = engine(message("final", "Hi", CALL))
    await whole(application(scripted), input="Hi", tools=[WEATHER], parallel_tool_calls=False)
    assert "<|start|>" not in next(
        line for line in scripted.submissions[0].grammar.splitlines() if line.startswith("calls:")
    )
