"""Raw prompts through the official SDK: whole and streamed, texts and token ids, and never a word of analysis."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai.types import Completion

from clients import application, async_client, async_openai
from fakes import MODEL as LOADED
from fakes import Fail, Script, ScriptedEngine, Step, message, next_message
from llm_server.engine.types import Submit
from llm_server.harmony.encoding import END, END_OF_TEXT, RETURN, START, encode
from sdk_types import check

MODEL = "gpt-oss-20b"
SECRET = "zebra"
TEXT: list[int] = [*encode(" is Paris, of course 🫨."), RETURN]
THOUGHT: list[int] = [END, *next_message(), *message("analysis", f"The {SECRET}.", END)]
WITH_THOUGHT: list[int] = [*encode(" is"), *THOUGHT, *next_message(), *message("final", "Paris.", RETURN)]


async def create(engine: ScriptedEngine, **fields: Any) -> Completion:
    client = async_openai(application(engine))
    answer: Completion = await client.completions.create(
        **{"model": MODEL, "prompt": "The capital of France", **fields}
    )
    return answer


async def stream(engine: ScriptedEngine, **fields: Any) -> list[Completion]:
    body = {"model": MODEL, "prompt": "The capital of France", "stream": True, **fields}
    return [chunk async for chunk in await async_openai(application(engine)).completions.create(**body)]


def texts(chunks: list[Completion]) -> dict[int, str]:
    told: dict[int, str] = {}
    for chunk in chunks:
        for choice in chunk.choices:
            told[choice.index] = told.get(choice.index, "") + choice.text
    return told


async def test_a_text_is_run_as_it_is_and_goes_on() -> None:
    engine = ScriptedEngine(TEXT)
    answer = await create(engine, max_tokens=50)
    [submission] = engine.submissions
    assert (submission.prompt, submission.grammar, submission.max_tokens) == (encode("The capital of France"), "", 50)
    assert answer.choices[0].text == " is Paris, of course 🫨."
    assert (answer.choices[0].finish_reason, answer.object) == ("stop", "text_completion")
    assert answer.usage is not None
    assert answer.usage.total_tokens == len(submission.prompt) + len(TEXT)
    check(Completion, answer.to_dict())


async def test_sixteen_tokens_unless_the_caller_wants_more() -> None:
    answer = await create(ScriptedEngine(encode(" and on" * 50)))
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 16


@pytest.mark.parametrize("script", [TEXT, WITH_THOUGHT, TEXT[:3]])
async def test_the_folded_stream_is_the_whole_answer(script: Script) -> None:
    whole = await create(ScriptedEngine(script), max_tokens=50)
    chunks = await stream(ScriptedEngine(script), max_tokens=50, stream_options={"include_usage": True})
    assert texts(chunks) == {0: whole.choices[0].text}
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert (chunks[-1].choices, chunks[-1].usage) == ([], whole.usage)


SPECIAL = [START, *encode("user"), *message("x", "", END)[-1:], START, *encode("assistant")]


@pytest.mark.parametrize(
    ("prompt", "script", "shown"),
    [
        ("The capital of France", WITH_THOUGHT, " isParis."),
        (
            SPECIAL,
            [*message("analysis", f"The {SECRET}.", END), *next_message(), *message("final", "Hi", RETURN)],
            "Hi",
        ),
        (
            [*next_message(), *message("analysis", "So", END)[:-1]],
            [*encode(f" the {SECRET}."), END, *next_message(), *message("final", "Hi", RETURN)],
            "Hi",
        ),
        ("<|start|>assistant<|channel|>analysis<|message|>So", encode(f" the {SECRET} runs"), ""),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_analysis_never_leaves(prompt: Any, script: Script, shown: str, streamed: bool) -> None:
    body = {"model": MODEL, "prompt": prompt, "stream": streamed, "max_tokens": 50, "logprobs": 3}
    async with async_client(application(ScriptedEngine(script))) as http:
        raw = await http.post("/v1/completions", json=body)
    assert raw.status_code == 200
    assert SECRET not in raw.text
    if not streamed:
        assert raw.json()["choices"][0]["text"] == shown


async def test_special_tokens_in_a_text_are_text_and_ids_are_what_they_are() -> None:
    engine = ScriptedEngine(TEXT)
    await create(engine, prompt="<|start|>user")
    await create(engine, prompt=[START, *encode("user")])
    assert START not in engine.submissions[0].prompt
    assert engine.submissions[1].prompt == [START, *encode("user")]


@pytest.mark.parametrize("prompt", ["", None])
async def test_without_a_prompt_a_new_text_begins(prompt: Any) -> None:
    engine = ScriptedEngine(TEXT)
    await create(engine, prompt=prompt)
    assert engine.submissions[0].prompt == [END_OF_TEXT]


def told(submission: Submit) -> list[int]:
    return [*encode(f" {len(submission.prompt)} {submission.sampling.seed}"), RETURN]


async def test_several_prompts_and_choices_in_order() -> None:
    answer = await create(ScriptedEngine(told), prompt=["One", [1, 2], "One two three"], n=2, seed=7, echo=True)
    assert [choice.index for choice in answer.choices] == list(range(6))
    ends = [choice.text.rpartition(" ")[0].rpartition(" ")[2] for choice in answer.choices]
    assert ends == ["1", "1", "2", "2", "3", "3"]
    assert [choice.text[-1] for choice in answer.choices] == ["7", "8"] * 3
    assert answer.choices[0].text.startswith("One ")
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 1 + 2 + 3
    streamed = await stream(ScriptedEngine(told), prompt=["One", [1, 2], "One two three"], n=2, seed=7, echo=True)
    assert texts(streamed) == {choice.index: choice.text for choice in answer.choices}


async def test_all_candidates_are_run_and_counted() -> None:
    engine = ScriptedEngine(told)
    answer = await create(engine, best_of=3, n=1, seed=7)
    assert len(engine.submissions) == 3
    assert {submission.sampling.top_logprobs for submission in engine.submissions} == {0}
    assert [choice.text for choice in answer.choices] == [" 4 7"]
    assert answer.choices[0].logprobs is None
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3 * len(told(engine.submissions[0]))


async def test_log_probabilities_in_the_old_shape() -> None:
    answer = await create(ScriptedEngine(TEXT), logprobs=2, max_tokens=50)
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.tokens is not None
    assert logprobs.text_offset is not None
    assert logprobs.tokens[:3] == [" is", " Paris", ","]
    assert any(token.startswith("bytes:\\x20\\xf0") for token in logprobs.tokens)
    assert logprobs.text_offset[:3] == [len(text) for text in ("The capital of France", *(" " * 24, " " * 30))]
    assert logprobs.token_logprobs == [-0.5] * (len(TEXT) - 1)
    assert all(len(top) == 2 for top in logprobs.top_logprobs or [])
    check(Completion, answer.to_dict())


async def test_stop_strings_end_it() -> None:
    answer = await create(ScriptedEngine(TEXT), stop="Paris", max_tokens=50)
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == (" is ", "stop")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"suffix": "the end"}, "suffix"),
        ({"echo": True, "logprobs": 1}, "echo"),
        ({"prompt": [201_088]}, "prompt[0]"),
        ({"prompt": [-1]}, "prompt[0]"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt[0]"),
        ({"prompt": ["a", 7]}, "prompt[1]"),
        ({"prompt": [7, "a"]}, "prompt[0]"),
        ({"prompt": [True]}, "prompt[0]"),
        ({"prompt": [["a"]]}, "prompt[0]"),
        ({"n": 129}, "n"),
        ({"n": 2, "best_of": 1}, None),
        ({"best_of": 2, "stream": True}, None),
        ({"prompt": ["a"] * 65, "n": 2}, None),
        ({"max_tokens": 0}, "max_tokens"),
        ({"logprobs": 21}, "logprobs"),
    ],
)
async def test_what_can_not_be_done_is_refused(fields: dict[str, Any], param: str | None) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await create(ScriptedEngine(TEXT), **fields)
    if param is not None:
        assert refused.value.param == param


async def test_a_prompt_that_is_too_long_is_named() -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await create(ScriptedEngine(TEXT), prompt="word " * LOADED.context_length)
    assert (refused.value.code, refused.value.param) == ("context_length_exceeded", "prompt")


async def test_an_engine_that_dies_midway_is_an_error_event() -> None:
    script: list[Step] = [*TEXT[:3], Fail()]
    with pytest.raises(openai.APIError, match="The engine has stopped"):
        await stream(ScriptedEngine(script))


async def test_an_unknown_model_is_not_found() -> None:
    with pytest.raises(openai.NotFoundError):
        await create(ScriptedEngine(TEXT), model="gpt-4")
