"""Where reasoning is put back into a history, and where it is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_server.conversation import (
    AssistantText,
    Conversation,
    Instructions,
    Item,
    Reasoning,
    ToolCall,
    ToolResult,
    UserText,
)
from llm_server.harmony.encoding import encode
from llm_server.harmony.messages import thought
from llm_server.harmony.recall import Generated, Memory, Passage, Preamble, recalled
from llm_server.harmony.render import render
from llm_server.harmony.seal import Sealer
from llm_server.harmony.transcript import Call, Turn

SEALER = Sealer(b"secret")
QUESTION = UserText("Weather?")
ANSWER = AssistantText("Sunny.")
A, B, C = (ToolCall(call_id, "f", '{"x": 1}') for call_id in "abc")
RESULT_A, RESULT_B, RESULT_C = (ToolResult(call_id, "f", f"result {call_id}") for call_id in "abc")
ONE = Turn((Call("a", "f", '{"x": 1}'),), "I look.", encode("turn one"))
TWO = Turn((Call("b", "f", '{"x": 1}'), Call("c", "f", '{"x": 1}')), "", encode("turn two"))
SEALED = Reasoning(SEALER.seal(encode("sealed thought")))
FOREIGN = Reasoning(Sealer(b"another").seal(encode("foreign thought")))

Told = Passage | str


def memory(*turns: Turn) -> Memory:
    known = Memory(SEALER)
    for turn in turns:
        known.transcripts.remember(turn)
    return known


def told(*items: Item, known: Memory | None = None) -> list[Told]:
    """The passages; what was generated is the text of its tokens."""
    return [_readable(passage) for passage in recalled(items, known or memory(ONE, TWO))]


def _readable(passage: Passage) -> Told:
    if not isinstance(passage, Generated):
        return passage
    texts = {tuple(ONE.tokens): "one", tuple(TWO.tokens): "two", tuple(thought(encode("sealed thought"))): "thought"}
    return texts[tuple(passage.tokens)]


# Remembered turns


def test_a_turn_that_goes_on_is_told_as_it_was_generated() -> None:
    assert told(QUESTION, A, RESULT_A) == [QUESTION, "one", RESULT_A]


def test_text_and_seals_of_the_turn_are_in_it() -> None:
    said = (SEALED, AssistantText("I look."), SEALED, A)
    assert told(QUESTION, *said, RESULT_A) == [QUESTION, "one", RESULT_A]


def test_what_stands_after_the_last_call_is_in_its_turn() -> None:
    assert told(QUESTION, A, SEALED, RESULT_A) == [QUESTION, "one", RESULT_A]


def test_rounds_of_one_turn_are_told_each() -> None:
    assert told(QUESTION, A, RESULT_A, B, C, RESULT_B, RESULT_C) == [
        *(QUESTION, "one", RESULT_A),
        *("two", RESULT_B, RESULT_C),
    ]


def test_rounds_without_results_between_them_are_told_apart() -> None:
    assert told(QUESTION, SEALED, A, SEALED, B, C) == [QUESTION, "one", "two"]


def test_after_the_final_answer_a_turn_is_told_by_its_items() -> None:
    history = (QUESTION, AssistantText("I look."), A, RESULT_A, ANSWER, QUESTION)
    assert told(*history) == [QUESTION, Preamble("I look."), A, RESULT_A, ANSWER, QUESTION]


def test_a_turn_goes_on_although_others_have_ended() -> None:
    assert told(QUESTION, A, RESULT_A, ANSWER, QUESTION, B, C) == [QUESTION, A, RESULT_A, ANSWER, QUESTION, "two"]


@pytest.mark.parametrize("between", [UserText("Hurry!"), Instructions("Be brief.")])
def test_only_an_answer_ends_a_turn(between: Item) -> None:
    assert told(QUESTION, A, RESULT_A, between) == [QUESTION, "one", RESULT_A, between]
    assert told(QUESTION, A, between, RESULT_A) == [QUESTION, "one", between, RESULT_A]


def test_a_call_that_is_not_known_is_told_as_it_is() -> None:
    assert told(QUESTION, A, RESULT_A, known=memory(TWO)) == [QUESTION, A, RESULT_A]


@pytest.mark.parametrize(
    "arguments", ['{"x":1}', '{"x": 1.0}', ' {"x" : 1 } ', '{"\\u0078": 1}', '{"x": 2, "x": 1}', '{"x": 1}']
)
def test_arguments_are_compared_as_json(arguments: str) -> None:
    assert told(QUESTION, ToolCall("a", "f", arguments)) == [QUESTION, "one"]


@pytest.mark.parametrize(
    "changed",
    [
        *(
            ToolCall("a", "f", arguments)
            for arguments in ('{"x": 2}', '{"x": true}', '{"x": "1"}', "{}", "", "x", "[" * 9999)
        ),
        ToolCall("a", "g", '{"x": 1}'),
    ],
)
def test_a_call_that_the_client_changed_is_the_clients(changed: ToolCall) -> None:
    assert told(QUESTION, changed, RESULT_A) == [QUESTION, changed, RESULT_A]


def test_json_true_is_not_one() -> None:
    turn = Turn((Call("a", "f", '{"x": [true, {"y": 0}]}'),), "", encode("turn one"))
    same = ToolCall("a", "f", '{"x":[true,{"y":0.0}]}')
    assert told(same, known=memory(turn)) == ["one"]
    other = ToolCall("a", "f", '{"x":[1,{"y":false}]}')
    assert told(other, known=memory(turn)) == [other]


@pytest.mark.parametrize("text", ["I look.", " I  look.\n", "Ilook.", ""])
def test_clients_may_trim_or_lose_the_text_before_a_call(text: str) -> None:
    assert told(QUESTION, AssistantText(text), A) == [QUESTION, "one"]


def test_a_text_that_was_changed_is_the_clients() -> None:
    assert told(QUESTION, AssistantText("I jump."), A) == [QUESTION, Preamble("I jump."), A]


@pytest.mark.parametrize("calls", [(B,), (C,), (B, ToolCall("c", "f", "{}"))])
def test_a_turn_is_known_by_all_of_its_calls(calls: tuple[ToolCall, ...]) -> None:
    assert told(QUESTION, *calls) == [QUESTION, *calls]


def test_calls_in_another_order_are_the_same_turn() -> None:
    assert told(QUESTION, C, B, RESULT_C, RESULT_B) == [QUESTION, "two", RESULT_B, RESULT_C]


def test_calls_between_which_results_stand_are_the_same_turn() -> None:
    assert told(QUESTION, B, RESULT_B, C, RESULT_C) == [QUESTION, "two", RESULT_B, RESULT_C]


def test_results_stand_in_the_order_of_their_calls_also_when_the_turn_is_not_known() -> None:
    assert told(QUESTION, A, B, RESULT_B, RESULT_A, known=memory()) == [QUESTION, A, B, RESULT_A, RESULT_B]


def test_ids_that_are_used_again_do_not_mix_up_results() -> None:
    first, second = (QUESTION, A, B, RESULT_A, RESULT_B), (B, A, RESULT_B, RESULT_A)
    assert told(*first, *second, known=memory()) == [*first, *second]


def test_results_of_unknown_calls_keep_their_order() -> None:
    known, unknown = RESULT_A, [ToolResult("?", "f", text) for text in ("1", "2")]
    assert told(QUESTION, A, unknown[0], known, unknown[1], known=memory()) == [QUESTION, A, known, *unknown]


def test_calls_without_ids_are_told_as_they_are() -> None:
    nameless = ToolCall("", "f", '{"x": 1}')
    assert told(QUESTION, nameless, A, ToolResult("", "f", "result")) == [
        *(QUESTION, nameless, "one"),
        ToolResult("", "f", "result"),
    ]


# Seals


def test_a_seal_is_opened_where_the_turn_is_not_known() -> None:
    history = (QUESTION, SEALED, AssistantText("I look."), SEALED, A, RESULT_A)
    expected = [QUESTION, "thought", Preamble("I look."), "thought", A, RESULT_A]
    assert told(*history, known=memory()) == expected


def test_a_seal_is_opened_where_the_client_has_changed_the_call() -> None:
    changed = ToolCall("a", "f", "{}")
    assert told(QUESTION, SEALED, changed) == [QUESTION, "thought", changed]


def test_a_thought_that_led_to_nothing_is_still_the_turns() -> None:
    assert told(QUESTION, SEALED, UserText("Go on.")) == [QUESTION, "thought", UserText("Go on.")]


def test_seals_of_turns_that_have_ended_are_dropped_unopened() -> None:
    known = Memory(Sealer(b"secret"))
    history = (QUESTION, FOREIGN, A, RESULT_A, SEALED, ANSWER, QUESTION)
    assert told(*history, known=known) == [QUESTION, A, RESULT_A, ANSWER, QUESTION]
    assert known.sealer.rejected == 0


def test_foreign_seals_are_dropped_and_counted() -> None:
    known = Memory(Sealer(b"secret"))
    assert told(QUESTION, FOREIGN, Reasoning("nonsense"), A, known=known) == [QUESTION, A]
    assert known.sealer.rejected == 2


def test_text_after_which_the_assistant_thought_and_spoke_again_was_no_answer() -> None:
    history = (QUESTION, AssistantText("First."), SEALED, AssistantText("Second."), QUESTION)
    assert told(*history) == [QUESTION, Preamble("First."), AssistantText("Second."), QUESTION]


@pytest.mark.parametrize("after", [(), (QUESTION,), (AssistantText("Second."),), (A, RESULT_A)])
def test_what_its_client_knows_as_a_preamble_is_one(after: tuple[Item, ...]) -> None:
    """And a turn with nothing but preambles is still going: its thoughts are seen again."""
    passages = told(QUESTION, SEALED, AssistantText("First.", preamble=True), *after, known=memory())
    is_answered = after == (AssistantText("Second."),)
    assert passages == [QUESTION, *([] if is_answered else ["thought"]), Preamble("First."), *after]


def test_a_seal_after_the_answer_makes_it_no_preamble() -> None:
    assert told(QUESTION, ANSWER, SEALED, QUESTION)[1] == ANSWER


def test_without_a_memory_there_is_no_reasoning() -> None:
    assert recalled((QUESTION, SEALED, A), None) == [QUESTION, A]
    assert render(Conversation((QUESTION, SEALED, A))) == render(Conversation((QUESTION, A)))


def test_tokens_that_are_recalled_have_no_representation() -> None:
    known = memory(ONE)
    assert str(ONE.tokens[0]) not in repr(recalled((A,), known))
    assert "tokens" not in repr(render(Conversation((A,)), known))


ITEMS = st.lists(
    st.sampled_from(
        [
            *(QUESTION, ANSWER, AssistantText("I look."), Instructions("Be brief."), SEALED, FOREIGN),
            *(A, B, C, RESULT_A, RESULT_B, RESULT_C, ToolCall("a", "f", "{}"), ToolCall("", "f", "{}")),
        ]
    ),
    max_size=12,
)


@given(ITEMS)
def test_whatever_a_client_sends_only_the_assistants_words_are_replaced(items: list[Item]) -> None:
    others = [passage for passage in told(*items) if isinstance(passage, UserText | Instructions | ToolResult)]
    sent = [item for item in items if isinstance(item, UserText | Instructions | ToolResult)]
    assert sorted(map(repr, others)) == sorted(map(repr, sent))
    assert [each for each in others if not isinstance(each, ToolResult)] == [
        each for each in sent if not isinstance(each, ToolResult)
    ]


@given(ITEMS)
def test_a_turn_is_told_at_most_once(items: list[Item]) -> None:
    passages = told(*items)
    assert passages.count("one") <= 1
    assert passages.count("two") <= 1


@given(ITEMS)
def test_nothing_that_was_thought_is_before_the_last_answer(items: list[Item]) -> None:
    passages = told(*items)
    answers = [index for index, passage in enumerate(passages) if isinstance(passage, AssistantText)]
    thoughts = [index for index, passage in enumerate(passages) if isinstance(passage, str)]
    assert not answers or not thoughts or answers[-1] < thoughts[0]
