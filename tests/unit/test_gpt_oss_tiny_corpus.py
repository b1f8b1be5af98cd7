"""What the embedded model was taught: scenes of every skill, rendered as the server renders, and held out by a rule."""

from __future__ import annotations

import json
import re
from pydoc_data.topics import topics

import pytest
from openai_harmony import Message, Role

from gpt_oss_tiny import values
from gpt_oss_tiny.batches import ROW_LENGTH
from gpt_oss_tiny.cases import cases
from gpt_oss_tiny.corpus import FRAME, SKILLS, scenes, training_document
from gpt_oss_tiny.draw import PHRASINGS_HELD_OUT, Draw, Phrasings, Split, held_out
from gpt_oss_tiny.frames import PARAGRAPH, framed, prose
from gpt_oss_tiny.phrases import COUNT
from gpt_oss_tiny.scene import THOUGHTS, Call, Exchange, Reply, Scene, conversation, document, emission, transcript
from gpt_oss_tiny.skills import SUMS_HELD_OUT
from gpt_oss_tiny.words import NUMBER_WORDS
from llm_server.conversation import ReasoningEffort, Tool, UserText
from llm_server.harmony.encoding import CALL, RETURN, START, harmony_encoding
from llm_server.harmony.render import render

SUM = re.compile(r"\d+ \+ \d+ = \d+")
WITH_CALLS = ("tool call", "described tool", "named tool", "two calls", "chained calls", "preamble")
LOOKUP = Scene(
    "tool call",
    (
        Exchange(
            "What is the weather in Paris?",
            (
                Reply(("I call it.", "It needs a city."), "I will look.", Call("get_weather", '{"city": "Paris"}')),
                Reply(("It has answered.", "I say so."), "It is sunny."),
            ),
            ("sunny",),
        ),
    ),
    tools=(Tool("get_weather", "Get the weather"),),
    effort="low",
)


@pytest.mark.parametrize("skill", SKILLS)
def test_each_skill_has_prompts_that_training_never_draws(skill: str) -> None:
    taught = {(s.last.user, s.last.replies[0].text) for s in scenes(1, "train", skill, 40)}
    kept = {(s.last.user, s.last.replies[0].text) for s in scenes(2, "new values", skill, 40)}
    assert len(kept) > 1
    assert not taught & kept


@pytest.mark.parametrize(("skill", "count"), [("add", 200), ("no tool needed", 450), ("several turns", 200)])
def test_a_sum_that_is_held_out_is_held_out_in_every_wording_and_in_every_skill(skill: str, count: int) -> None:
    said = [e.replies[-1].text for s in scenes(4, "train", skill, count) for e in s.exchanges]
    sums = [text.split(" = ")[0] for text in said if SUM.fullmatch(text)]
    assert len(sums) > 20
    assert not [text for text in sums if held_out(text, SUMS_HELD_OUT)]


def test_held_out_phrasings_are_made_of_words_that_are_taught() -> None:
    assert COUNT.held_out
    assert not set(COUNT.held_out) & set(COUNT.train)
    assert all(held_out(text, PHRASINGS_HELD_OUT) for text in COUNT.held_out)
    assert {Draw(seed).phrasing(COUNT) for seed in range(500)} <= set(COUNT.train)
    unheard_of = Phrasings(*(f"way {n} alone{n}" for n in range(40)))
    assert unheard_of.held_out == ()


@pytest.mark.parametrize("skill", SKILLS)
def test_every_call_is_of_a_declared_tool_with_arguments_that_fit(skill: str) -> None:
    for scene in scenes(5, "train", skill, 30):
        for call in (reply.call for exchange in scene.exchanges for reply in exchange.replies if reply.call):
            tool = next(tool for tool in scene.tools if tool.name == call.name)
            schema = tool.parameters or {"properties": {}, "required": []}
            given = json.loads(call.arguments)
            assert set(schema.get("required", ())) <= set(given) <= set(schema["properties"])


@pytest.mark.parametrize("skill", WITH_CALLS)
def test_every_argument_can_be_read_off_the_conversation_before_it(skill: str) -> None:
    for scene in scenes(8, "train", skill, 60):
        heard = scene.last.user
        for reply, result in zip(scene.last.replies, scene.last.results, strict=False):
            assert reply.call is not None
            for value in json.loads(reply.call.arguments).values():
                for part in value if isinstance(value, list) else [value]:
                    assert _is_in(part, heard), (part, heard)
            heard += "\n" + result


def _is_in(value: object, heard: str) -> bool:
    if isinstance(value, str):
        return value in heard or value.title() in heard or json.dumps(value, ensure_ascii=False) in heard
    if json.dumps(value) in heard:
        return True
    return isinstance(value, int) and value < len(NUMBER_WORDS) and NUMBER_WORDS[value] in heard.lower()


def test_what_is_visible_decides_what_is_answered() -> None:
    answers: dict[object, object] = {}
    for skill in SKILLS:
        for scene in scenes(9, "train", skill, 150):
            if skill != "date":
                seen = (scene.instructions, scene.tools, [(e.user, e.results) for e in scene.exchanges])
                reply = scene.last.replies[0]
                assert answers.setdefault(repr(seen), (reply.text, reply.call)) == (reply.text, reply.call), seen


def test_alternatives_are_ways_of_their_own_and_all_held_out_with_the_text_they_are_of() -> None:
    ways = Phrasings(
        *(f"[Get|Find] [the|a] thing{n} now" for n in range(3)), *(f"Get {n} the a thing0 now" for n in range(60))
    )
    assert ways.train[:3] == ("Get the thing0 now", "Get a thing0 now", "Find the thing0 now")
    assert len(ways.train) + len(ways.held_out) == 72
    several = Phrasings("one", "two", "three", *(f"[one|two] three{'!' * n}" for n in range(60)))
    unheard = [text for text in several.texts[3:] if held_out(text, PHRASINGS_HELD_OUT)]
    assert unheard
    for text in unheard:
        assert {text.replace("[one|two]", word) for word in ("one", "two")} <= set(several.held_out)


def test_a_list_is_told_from_the_words_that_name_it() -> None:
    assert values.as_list("milk and bread") == ["milk", "bread"]
    assert values.as_list("milk, red apples and bread") == ["milk", "red apples", "bread"]


def test_a_document_is_the_prompt_of_the_server_and_the_reply_to_learn() -> None:
    learned = document(LOOKUP, 1)
    prompt = render(conversation(LOOKUP, 1)).tokens
    assert learned.tokens[: len(prompt)] == list(prompt)
    assert learned.learned == [False] * len(prompt) + [True] * (len(learned.tokens) - len(prompt))
    assert learned.tokens[-1] == RETURN


def test_a_transcript_learns_each_reply_and_keeps_the_analysis_between() -> None:
    whole = transcript(LOOKUP)
    text = harmony_encoding().decode(whole.tokens)
    said = harmony_encoding().decode([t for t, learned in zip(whole.tokens, whole.learned, strict=True) if learned])
    assert said == (
        "<|channel|>analysis<|message|>I call it.<|end|>"
        "<|start|>assistant<|channel|>commentary<|message|>I will look.<|end|>"
        "<|start|>assistant<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>"
        '{"city": "Paris"}<|call|>'
        "<|channel|>analysis<|message|>It has answered.<|end|>"
        "<|start|>assistant<|channel|>final<|message|>It is sunny.<|return|>"
    )
    assert "<|call|><|start|>functions.get_weather to=assistant<|channel|>commentary<|message|>sunny<|end|>" in text


@pytest.mark.parametrize(("effort", "count"), THOUGHTS.items())
def test_the_effort_decides_how_many_sentences_are_thought(effort: ReasoningEffort, count: int) -> None:
    reply = Reply(("One.", "Two.", "Three.", "Four."), "Yes.")
    said = harmony_encoding().decode(emission(reply, effort))
    assert said.split("<|end|>")[0].count(".") == count


def test_what_is_emitted_has_the_tokens_of_the_library() -> None:
    for scene in scenes(6, "train", "repeat", 30):
        reply = scene.last.replies[0]
        message = Message.from_role_and_content(Role.ASSISTANT, reply.text).with_channel("final")
        emitted = emission(reply, scene.effort)
        final = emitted[len(emitted) - emitted[::-1].index(START) - 1 :]
        assert final[:-1] == list(harmony_encoding().render(message))[:-1]


def test_a_case_is_right_in_any_spelling_of_its_json_and_wrong_otherwise() -> None:
    case = next(c for c in cases("tool call", "new values", 40) if c.expected[-1] == CALL)
    assert case.passed(case.expected)
    assert not case.passed(case.expected[:-1])
    assert not case.passed([*case.expected[:-3], *case.expected[-2:]])


def test_the_corpus_is_the_same_for_the_same_seed() -> None:
    assert training_document(5) == training_document(5)
    assert training_document(5) != training_document(6)


def test_an_agents_frame_keeps_what_is_asked_and_adds_thousands_of_tokens_around_it() -> None:
    lengths = []
    for scene in scenes(11, "train", FRAME, 40):
        assert scene.skill == FRAME
        assert scene.instructions
        assert len({tool.name for tool in scene.tools}) == len(scene.tools)
        lengths.append(len(document(scene, 0).tokens))
    assert min(lengths) > 500
    assert max(lengths) > 6_000
    assert max(lengths) < ROW_LENGTH


def test_a_request_stands_at_the_end_of_what_an_agent_makes_the_user_say() -> None:
    request = "What is the weather in Paris?"
    framed_scenes = [framed(Draw(seed), LOOKUP) for seed in range(60)]
    assert all(scene.last.user.strip('"').endswith(request) for scene in framed_scenes)
    assert any(len(scene.last.user) > 500 for scene in framed_scenes)
    assert any(scene.before for scene in framed_scenes)
    for scene in framed_scenes:
        shown = [item for item in conversation(scene, 0).items if isinstance(item, UserText)]
        assert [item.text for item in shown] == [*scene.before, scene.last.user]


def test_training_reads_no_paragraph_that_is_held_out() -> None:
    taught, kept = (_paragraphs(split) for split in ("train", "new values"))
    assert len(taught) > 3 * len(kept) > 300
    assert not taught & kept


def _paragraphs(split: Split) -> set[str]:
    """What many texts have of Python's documentation."""
    parts = {part for seed in range(20) for part in prose(Draw(seed, split), 200_000).split("\n\n")}
    documentation = "\n\n".join(topics.values())
    return {part for part in parts if len(part) > PARAGRAPH[0] and f"\n\n{part}\n\n" in documentation}


def test_a_request_for_two_values_of_one_tool_is_served_twice() -> None:
    both = re.compile(r" in ([A-Z]\w+) and ([A-Z]\w+)\b")
    served = [
        (match.groups(), [reply.call.arguments for reply in scene.last.replies if reply.call])
        for scene in scenes(12, "train", "two calls", 1500)
        if "weather" in scene.last.user and (match := both.search(scene.last.user))
    ]
    assert len(served) > 5
    for (first, second), calls in served:
        assert first in calls[0]
        assert second in calls[1]
