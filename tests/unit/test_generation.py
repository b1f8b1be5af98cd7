"""One request's life on a scripted engine: what it asks of the engine, what it tells, and what it frees."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

import pytest
from msgspec import structs

from fakes import LOADING, READY, Fail, Hang, ScriptedEngine, ScriptedStream, message, next_message, reply, tool_call
from llm_server.conversation import (
    Conversation,
    GenerationDefaults,
    GenerationRequest,
    Instructions,
    Sampling,
    Tool,
    ToolChoice,
    UserText,
)
from llm_server.engine.types import Submit
from llm_server.errors import ContextTooLong, EngineUnavailable, Overloaded, RequestTimeout
from llm_server.events import BlockDelta, BlockStart, BlockStop, Completion, Usage, collect
from llm_server.generation import Generation, Generator
from llm_server.harmony.encoding import CALL, END, RETURN, encode, harmony_encoding
from llm_server.harmony.grammar import turn_grammar
from llm_server.harmony.render import render

REQUEST = GenerationRequest(Conversation((UserText("Hello"),)))
SECRET = "zebra"


async def start(engine: ScriptedEngine, request: GenerationRequest = REQUEST, seconds: float = 60) -> Generation:
    return await Generator(engine, request_timeout=seconds).start(request)


async def complete(engine: ScriptedEngine, request: GenerationRequest = REQUEST) -> Completion:
    return await collect(await start(engine, request))


async def test_the_engine_is_given_the_rendered_prompt_and_the_rest_of_the_context() -> None:
    engine = ScriptedEngine(reply("Greet.", "Hello!"))
    await complete(engine)
    [submission] = engine.submissions
    assert tuple(submission.prompt) == render(REQUEST.conversation).tokens
    assert READY.model is not None
    assert submission.max_tokens == READY.model.context_length - len(submission.prompt)


@pytest.mark.parametrize(("wanted", "granted"), [(1, 1), (50, 50), (128_000, None)])
async def test_max_tokens_is_clamped_to_the_context(wanted: int, granted: int | None) -> None:
    engine = ScriptedEngine(reply("Greet.", "Hello!"))
    await complete(engine, replace(REQUEST, max_tokens=wanted))
    [submission] = engine.submissions
    assert READY.model is not None
    assert submission.max_tokens == (granted or READY.model.context_length - len(submission.prompt))


RECOMMENDED = GenerationDefaults(0.0, 0.9, 40, 0.05, 1.1, max_tokens=50)


def recommending() -> ScriptedEngine:
    assert READY.model is not None
    status = structs.replace(READY, model=structs.replace(READY.model, defaults=RECOMMENDED))
    return ScriptedEngine(reply("Greet.", "Hello!"), status=status)


async def test_what_the_caller_does_not_say_is_the_models_own() -> None:
    engine = recommending()
    await complete(engine)
    [submission] = engine.submissions
    assert submission.sampling == Sampling(0.0, 0.9, 40, 0.05, repetition_penalty=1.1)
    assert submission.max_tokens == 50
    assert "[max_tokens=" in submission.grammar, "thoughts leave room for an answer"


async def test_what_the_caller_says_holds_whatever_the_model_recommends() -> None:
    engine = recommending()
    own = Sampling(1.0, 1.0, 0, 0.0, repetition_penalty=1.0)
    await complete(engine, replace(REQUEST, sampling=own, max_tokens=1000))
    [submission] = engine.submissions
    assert (submission.sampling, submission.max_tokens) == (own, 1000)


@pytest.mark.parametrize("wanted", [None, 128_000])
async def test_thoughts_leave_room_for_an_answer_where_the_context_ends(wanted: int | None) -> None:
    prompt = len(render(REQUEST.conversation).tokens)
    assert READY.model is not None
    status = structs.replace(READY, model=structs.replace(READY.model, context_length=prompt + 40))
    engine = ScriptedEngine(reply("Greet.", "Hello!"), status=status)
    await complete(engine, replace(REQUEST, max_tokens=wanted))
    [nearly_full] = engine.submissions
    assert nearly_full.max_tokens == 40
    assert "[max_tokens=" in nearly_full.grammar
    assert nearly_full.grammar == turn_grammar(replace(REQUEST, max_tokens=32))


async def test_usage_counts_every_token_and_the_reasoning_among_them() -> None:
    tokens = reply("Greet the user.", "Hello!")
    completion = await complete(ScriptedEngine(tokens, cached_tokens=7))
    prompt = len(render(REQUEST.conversation).tokens)
    reasoning = len(message("analysis", "Greet the user.", END))
    usage = completion.finish.usage
    assert (usage.prompt, usage.cached, usage.completion) == (prompt, 7, len(tokens))
    assert reasoning <= usage.reasoning <= reasoning + len(next_message())
    assert completion.text == "Hello!"
    assert completion.finish.reason == "stop"


async def test_what_the_engine_knew_of_the_prompt_is_there_with_the_first_event() -> None:
    engine = ScriptedEngine([*reply("Greet.", "Hello!")], cached_tokens=7, diverged_at=9)
    async with aclosing(await start(engine)) as generation:
        await anext(generation)
        assert (generation.cached_tokens, generation.diverged_at) == (7, 9)
        assert generation.finished is None
        async for _ in generation:
            pass
    assert generation.finished is not None
    assert generation.finished.reason == "stop"


async def test_a_stop_string_does_not_hide_what_was_cached() -> None:
    engine = ScriptedEngine(reply("Greet.", "Hello, STOP, you."), cached_tokens=7)
    completion = await complete(engine, replace(REQUEST, stop=("STOP",)))
    assert completion.finish.reason == "stop_sequence"
    assert completion.finish.usage.cached == 7


async def test_a_limit_ends_the_answer_with_length() -> None:
    tokens = reply("Greet.", "Hello, how are you today?")
    completion = await complete(ScriptedEngine(tokens), replace(REQUEST, max_tokens=len(tokens) - 4))
    assert (completion.finish.reason, completion.finish.context_full) == ("length", False)
    assert completion.text.startswith("Hello, how")


@pytest.mark.parametrize("wanted", [None, 128_000])
async def test_the_end_of_the_context_ends_the_answer_with_length_and_says_why(wanted: int | None) -> None:
    tokens = reply("Greet.", "Hello, how are you today?")
    assert READY.model is not None
    room = len(render(REQUEST.conversation).tokens) + len(tokens) - 4
    status = structs.replace(READY, model=structs.replace(READY.model, context_length=room))
    completion = await complete(ScriptedEngine(tokens, status=status), replace(REQUEST, max_tokens=wanted))
    assert (completion.finish.reason, completion.finish.context_full) == ("length", True)


async def test_a_stop_string_frees_the_engine_at_once() -> None:
    engine = ScriptedEngine([*reply("END in thought", "one END two")[:-1], Hang()])
    completion = await complete(engine, replace(REQUEST, stop=("END",)))
    assert completion.text == "one "
    assert completion.finish.reason == "stop_sequence"
    assert completion.finish.stop_sequence == "END"
    assert engine.running == 0


async def test_a_call_to_a_declared_tool_is_a_block_of_its_own() -> None:
    conversation = replace(REQUEST.conversation, tools=(Tool("get_weather"),))
    engine = ScriptedEngine(tool_call("get_weather", '{"city": "Oslo"}', preamble="Let me look."))
    completion = await complete(engine, replace(REQUEST, conversation=conversation))
    [call] = completion.tool_calls
    assert (call.tool_name, call.text) == ("get_weather", '{"city": "Oslo"}')
    assert call.call_id.startswith("call_")
    assert completion.finish.reason == "tool_calls"
    assert completion.text == "Let me look."


async def test_logprobs_belong_to_the_answer_alone() -> None:
    engine = ScriptedEngine(reply(SECRET, "Hello!"))
    request = replace(REQUEST, sampling=Sampling(top_logprobs=2))
    deltas = [event async for event in await start(engine, request) if isinstance(event, BlockDelta)]
    chosen = [logprob.chosen.token for delta in deltas for logprob in delta.logprobs]
    assert chosen == ["Hello", "!"]
    assert all(len(logprob.top) == 2 for delta in deltas for logprob in delta.logprobs)


async def test_special_tokens_are_no_alternatives() -> None:
    engine = ScriptedEngine([*encode(""), *message("final", "", RETURN)[:-1], 199_990, RETURN])
    request = replace(REQUEST, sampling=Sampling(top_logprobs=20))
    deltas = [event async for event in await start(engine, request) if isinstance(event, BlockDelta)]
    tokens = [other.token for delta in deltas for logprob in delta.logprobs for other in logprob.top]
    assert tokens
    assert not any("<|" in token for token in tokens)


async def test_refusals_are_raised_before_anything_is_sent() -> None:
    with pytest.raises(Overloaded):
        await start(ScriptedEngine(refusal=Overloaded("full", retry_after=3)))
    with pytest.raises(EngineUnavailable):
        await start(ScriptedEngine(status=LOADING))
    with pytest.raises(EngineUnavailable):
        await start(ScriptedEngine(status=None))


async def test_a_prompt_without_room_for_an_answer_is_refused_with_both_numbers() -> None:
    conversation = Conversation((UserText("word " * 5000),))
    with pytest.raises(ContextTooLong) as refused:
        await start(ScriptedEngine(), GenerationRequest(conversation))
    assert refused.value.limit == 4096
    assert refused.value.prompt == len(render(conversation).tokens)


async def test_closing_frees_the_slot_also_before_the_first_event() -> None:
    engine = ScriptedEngine([Hang()])
    generation = await start(engine)
    await generation.aclose()
    await generation.aclose()
    assert engine.running == 0
    assert [event async for event in generation] == []


async def test_a_dying_engine_ends_the_events_with_its_error() -> None:
    generation = await start(ScriptedEngine([*message("final", "Hel", END)[:-1], Fail()]))
    assert [type(await anext(generation)) for _ in range(2)] == [BlockStart, BlockDelta]
    with pytest.raises(EngineUnavailable):
        await anext(generation)


async def test_the_deadline_ends_a_silent_generation_and_frees_its_slot() -> None:
    engine = ScriptedEngine([Hang()])
    generation = await start(engine, seconds=0.05)
    with pytest.raises(RequestTimeout):
        await anext(aiter(generation))
    assert engine.running == 0


async def test_the_deadline_counts_while_waiting_for_admission() -> None:
    class Never(ScriptedEngine):
        async def submit(self, submission: Submit) -> ScriptedStream:
            await asyncio.Event().wait()
            return await super().submit(submission)

    with pytest.raises(RequestTimeout):
        await start(Never(), seconds=0.05)


async def test_bursts_give_the_same_answer_as_single_tokens() -> None:
    tokens = tool_call("get_weather", '{"city": "Oslo"}')
    request = replace(REQUEST, conversation=replace(REQUEST.conversation, tools=(Tool("get_weather"),)))
    answers = [await complete(ScriptedEngine(tokens, burst=burst), request) for burst in (1, 2, 3, 1000)]
    assert len({(call.tool_name, call.text) for answer in answers for call in answer.tool_calls}) == 1
    assert {answer.finish.usage for answer in answers} == {
        Usage(len(render(request.conversation).tokens), 0, len(tokens), answers[0].finish.usage.reasoning)
    }


async def test_a_block_of_reasoning_carries_a_seal_that_its_generator_opens() -> None:
    generator = Generator(ScriptedEngine(reply("Greet.", "Hello!")), request_timeout=60)
    completion = await collect(await generator.start(REQUEST))
    seals = {block.kind: block.seal for block in completion.blocks}
    assert generator.memory.sealer.open(seals["reasoning"]) == tuple(encode("Greet."))
    assert seals["text"] == ""


async def test_generators_with_the_same_key_open_each_others_seals() -> None:
    one, same, other = (
        Generator(ScriptedEngine(reply("Greet.", "Hello!")), request_timeout=60, seal_key=key)
        for key in (b"key", b"key", None)
    )
    seal = (await collect(await one.start(REQUEST))).blocks[0].seal
    assert same.memory.sealer.open(seal) == tuple(encode("Greet."))
    assert other.memory.sealer.open(seal) is None


TWO_CALLS = [
    *message("commentary", '{"city": "Oslo"}', END, "functions.get_weather"),
    *next_message(),
    *message("commentary", '{"city": "Rome"}', CALL, "functions.get_weather"),
]
ASKED = replace(REQUEST, conversation=replace(REQUEST.conversation, tools=(Tool("get_weather"),)))


@pytest.mark.parametrize(
    ("tokens", "limit", "remembered"),
    [
        (tool_call("get_weather", '{"city": "Oslo"}'), None, 1),
        (tool_call("get_weather", '{"city": "Oslo"}'), 25, 0),
        (TWO_CALLS, len(TWO_CALLS) - 4, 0),
        (tool_call("send_mail", '{"city": "Oslo"}'), None, 0),
        (reply("Greet.", "Hello!"), None, 0),
    ],
    ids=["a call", "a call that was cut off", "another call that was cut off", "an undeclared call", "an answer"],
)
async def test_turns_that_end_in_calls_are_remembered(tokens: list[int], limit: int | None, remembered: int) -> None:
    generator = Generator(ScriptedEngine(tokens), request_timeout=60)
    completion = await collect(await generator.start(replace(ASKED, max_tokens=limit)))
    assert len(generator.memory.transcripts) == remembered
    assert completion.finish.reason != "tool_calls" or remembered


async def test_a_turn_that_its_client_left_is_not_remembered() -> None:
    generator = Generator(ScriptedEngine(tool_call("get_weather", "{}")), request_timeout=60)
    generation = await generator.start(ASKED)
    await anext(generation)
    await generation.aclose()
    assert len(generator.memory.transcripts) == 0


async def test_no_event_carries_the_analysis() -> None:
    unfinished = [*message("analysis", SECRET, END), *next_message(), *message("analysis", SECRET, CALL)]
    for script in (unfinished, unfinished[:-1], reply(SECRET, "Hi"), [*unfinished[:-1], RETURN]):
        events = [event async for event in await start(ScriptedEngine(script))]
        assert SECRET not in repr(events)


WEATHER = replace(REQUEST, conversation=replace(REQUEST.conversation, tools=(Tool("get_weather"),)))


def attempts(*turns: list[int]) -> ScriptedEngine:
    """An engine that says one of these after the other."""
    following = iter(turns)
    return ScriptedEngine(lambda _: next(following))


async def test_a_call_to_a_tool_that_does_not_exist_is_corrected_within_the_request() -> None:
    wrong = tool_call("forecast", "{}", preamble="Let me look.")
    right = tool_call("get_weather", '{"city": "Oslo"}')
    engine = attempts(wrong, right)
    engine.stored_tokens = 9
    generation = await start(engine, WEATHER)
    completion = await collect(generation)
    [call] = completion.tool_calls
    assert (call.tool_name, call.text) == ("get_weather", '{"city": "Oslo"}')
    assert completion.finish.reason == "tool_calls"
    assert completion.finish.usage.completion == len(wrong) + len(right)
    assert completion.finish.usage.stored == 9
    assert generation.corrections == 1
    first, second = engine.submissions
    told = harmony_encoding().decode(second.prompt[len(first.prompt) + len(wrong) :])
    assert second.prompt[: len(first.prompt) + len(wrong)] == [*first.prompt, *wrong]
    assert told.startswith("<|start|>functions.forecast to=assistant<|channel|>commentary<|message|>Error:")
    assert told.endswith("get_weather.<|end|><|start|>assistant")
    assert engine.running == 0


async def test_blocks_are_numbered_on_over_a_correction() -> None:
    engine = attempts(tool_call("forecast", "{}", preamble="Let me look."), reply("Then not.", "I do not know."))
    events = [event async for event in await start(engine, WEATHER)]
    starts = [event.index for event in events if isinstance(event, BlockStart)]
    stops = [event.index for event in events if isinstance(event, BlockStop)]
    assert starts == stops == list(range(len(starts)))


async def test_the_limit_that_a_corrected_answer_meets_is_the_callers() -> None:
    """What the correction says counts against the limit, and is no completion of the model's."""
    wrong = tool_call("forecast", "{}")
    engine = attempts(wrong, reply("Then not.", "I do not know what the weather is like in Oslo."))
    completion = await complete(engine, replace(WEATHER, max_tokens=len(wrong) + 45))
    assert len(engine.submissions) == 2
    assert completion.finish.usage.completion < len(wrong) + 45
    assert (completion.finish.reason, completion.finish.context_full) == ("length", False)


async def test_the_model_is_corrected_twice_at_most() -> None:
    engine = ScriptedEngine(tool_call("forecast", "{}"))
    generation = await start(engine, WEATHER)
    completion = await collect(generation)
    assert len(engine.submissions) == 3
    assert generation.corrections == 2
    assert completion.tool_calls == ()
    assert completion.finish.reason == "stop"


@pytest.mark.parametrize("choice", [ToolChoice("none"), ToolChoice("auto", frozenset({"clock"}))])
async def test_a_call_that_may_not_be_made_never_gets_out(choice: ToolChoice) -> None:
    """Without a grammar it is made nevertheless."""
    engine = attempts(tool_call("get_weather", "{}"), reply("Then not.", "I may not look."))
    request = replace(WEATHER, tool_choice=choice)
    completion = await collect(await Generator(engine, request_timeout=60, guard=False).start(request))
    assert completion.tool_calls == ()
    assert (completion.text, completion.finish.reason) == ("I may not look.", "stop")
    assert engine.submissions[0].grammar == ""


async def test_a_call_that_was_cut_off_is_not_corrected() -> None:
    tokens = tool_call("forecast", "{}")
    engine = ScriptedEngine(tokens)
    await complete(engine, replace(WEATHER, max_tokens=len(tokens) - 1))
    assert len(engine.submissions) == 1


BILLING = Instructions("x-anthropic-billing-header: cc_version=2.1.330; cch=36ee5;")


@pytest.mark.parametrize("keep", [False, True])
async def test_what_a_client_marks_its_requests_with_is_run_and_counted_alike(keep: bool) -> None:
    engine = ScriptedEngine(reply("Greet.", "Hello!"))
    generator = Generator(engine, request_timeout=60, keep_markers=keep)
    marked = replace(REQUEST.conversation, items=(BILLING, *REQUEST.conversation.items))
    await collect(await generator.start(replace(REQUEST, conversation=marked)))
    [submission] = engine.submissions
    assert tuple(submission.prompt) == render(marked if keep else REQUEST.conversation).tokens
    assert (await generator.prompt(marked)).tokens == tuple(submission.prompt)


def raw(*prompt: int) -> GenerationRequest:
    return GenerationRequest(Conversation(()), max_tokens=50, raw=prompt)


async def test_a_raw_prompt_is_run_as_it_is_and_goes_on_as_text() -> None:
    engine = ScriptedEngine([*encode(" two three"), RETURN])
    completion = await complete(engine, raw(*encode("One")))
    [submission] = engine.submissions
    assert (submission.prompt, submission.grammar, submission.max_tokens) == (encode("One"), "", 50)
    assert (completion.text, completion.finish.reason) == (" two three", "stop")
    assert completion.finish.usage.completion == len(encode(" two three")) + 1


async def test_a_raw_prompt_that_breaks_off_in_analysis_shows_none_of_it() -> None:
    prompt = [*next_message(), *message("analysis", "We", END)[:-1]]
    script = [*encode(f" say {SECRET}."), END, *next_message(), *message("final", "Hello!", RETURN)]
    completion = await complete(ScriptedEngine(script), raw(*prompt))
    assert completion.text == "Hello!"
    assert SECRET not in repr(completion)


async def test_a_raw_prompt_is_not_corrected() -> None:
    engine = ScriptedEngine(tool_call("clock", "{}"))
    completion = await complete(engine, raw(*next_message()))
    assert len(engine.submissions) == 1
    assert completion.text == ""
