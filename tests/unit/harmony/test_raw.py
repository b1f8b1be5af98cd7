"""What is shown of the continuation of a raw prompt: everything but analysis, wherever the prompt leaves off."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_server.events import BlockDelta, BlockStart, Event
from llm_server.harmony.encoding import END_OF_TEXT, encode, harmony_encoding
from llm_server.harmony.parse import HarmonyParser
from llm_server.harmony.raw import unfinished

REST_OF_TURN = "<|end|><|start|>assistant<|channel|>final<|message|>Shown.<|return|>"


def special(text: str) -> list[int]:
    return list(harmony_encoding().encode(text, allowed_special="all"))


def read(prompt: Sequence[int], generated: Sequence[int]) -> tuple[HarmonyParser, list[Event]]:
    parser = HarmonyParser(new_call_id=lambda: "call")
    begun = parser.resume(unfinished(prompt))
    events = [*([begun] if begun else []), *(event for token in generated for event in parser.feed(token))]
    return parser, [*events, *parser.finish(truncated=False)]


def shown(prompt: Sequence[int], generated: Sequence[int]) -> str:
    _, events = read(prompt, generated)
    return "".join(event.text for event in events if isinstance(event, BlockDelta))


@pytest.mark.parametrize(
    "text", [" is Paris.\n\n  It has <b>bold</b> <| pipes |>.", "assistantanalysis is no word", "{", " ", "日本"]
)
def test_plain_text_goes_on_as_it_is(text: str) -> None:
    assert shown(encode("The capital of France"), encode(text)) == text
    assert shown([END_OF_TEXT], [*encode(text), END_OF_TEXT]) == text
    assert shown(encode("<|start|>user<|message|>Say"), encode(text)) == text
    assert shown(special("<|start|>user<|message|>Say"), encode(text)) == text


WRITTEN = [pytest.param(special, id="special tokens"), pytest.param(encode, id="spelled")]


@pytest.mark.parametrize("write", WRITTEN)
@pytest.mark.parametrize(
    ("prompt", "generated", "expected"),
    [
        ("One", f" two<|end|><|start|>assistant<|channel|>analysis<|message|>Hidden{REST_OF_TURN}", " twoShown."),
        ("One", f"<|channel|>analysis<|message|>Hidden{REST_OF_TURN}", "Shown."),
        (
            "<|start|>user<|message|>Hi<|end|>",
            f"<|start|>assistant<|channel|>analysis<|message|>No{REST_OF_TURN}",
            "Shown.",
        ),
        (
            "<|start|>user<|message|>Hi<|end|><|start|>assistant",
            f"<|channel|>analysis<|message|>No{REST_OF_TURN}",
            "Shown.",
        ),
        ("<|start|>assistant<|channel|>analysis<|message|>We", f" hide{REST_OF_TURN}", "Shown."),
        ("<|start|>assistant<|channel|>ana", f"lysis<|message|>We hide{REST_OF_TURN}", "Shown."),
        ("<|channel|>analysis<|message|>", f"We hide{REST_OF_TURN}", "Shown."),
        ("<|start|>user<|message|>Hi<|start|>assistant<|channel|>analysis<|message|>", f"No{REST_OF_TURN}", "Shown."),
        ("<|start|>assistant<|channel|>final<|message|>The answer", " is 4.<|return|>", " is 4."),
        ("<|start|>assistant<|message|>The answer", " is 4.<|return|>", " is 4."),
        ("<|start|>assistant<|channel|>final<|message|>Done.<|return|>", "<|start|>user<|message|>More", ""),
        (
            "<|start|>user<|message|>Hi<|end|><|start|>",
            f"assistant<|channel|>analysis<|message|>No{REST_OF_TURN}",
            "Shown.",
        ),
        ("<|start|>user<|message|>Hi<|end|><|start|>analysis<|message|>", f"No{REST_OF_TURN}", "Shown."),
        ("<|start|>user<|message|>Hi<|end|><|start|>ass", "istant<|channel|>final<|message|>Yes<|return|>", "Yes"),
    ],
)
def test_analysis_is_hidden_wherever_the_prompt_leaves_off(
    write: Callable[[str], list[int]], prompt: str, generated: str, expected: str
) -> None:
    assert shown(write(prompt), write(generated)) == expected


@pytest.mark.parametrize("cut", ["<", "<|", "<|sta", "<|start|", "\n<|start"])
def test_a_marker_may_break_off_in_its_middle(cut: str) -> None:
    prompt = encode(f"<|start|>user<|message|>Hi<|end|>{cut}")
    rest = "<|start|>".removeprefix(cut.strip()) + "assistant<|channel|>final<|message|>Yes<|return|>"
    assert shown(prompt, encode(rest)) == "Yes"


@pytest.mark.parametrize("first", ["<|startoftext|>", "<|endoftext|>", "<|start|>system<|message|>Be kind.<|end|>"])
def test_a_spelled_conversation_may_stand_behind_special_tokens(first: str) -> None:
    begun = "<|start|>user<|message|>Hi<|end|><|start|>assistant<|channel|>analysis<|message|>The user"
    assert shown([*special(first), *encode(begun)], special(f" says hi{REST_OF_TURN}")) == "Shown."


MARKED = ["<|start|>", "user", "<|message|>", "Hi", "<|end|>", "<|start|>", "assistant", "<|channel|>", "analysis",
          "<|message|>", "The user"]  # fmt: skip


@given(st.lists(st.booleans(), min_size=len(MARKED), max_size=len(MARKED)))
def test_each_marker_may_be_special_or_spelled(are_special: list[bool]) -> None:
    pairs = zip(MARKED, are_special, strict=True)
    prompt = [token for text, is_special in pairs for token in (special if is_special else encode)(text)]
    assert shown(prompt, special(f" says hi{REST_OF_TURN}")) == "Shown."


def test_a_spelled_end_does_not_end_what_special_tokens_began() -> None:
    begun = special("<|start|>assistant<|channel|>analysis<|message|>")
    assert shown([*begun, *encode("<|end|> is a marker. I")], special(f" know it{REST_OF_TURN}")) == "Shown."


def test_a_prompt_is_read_as_the_tokens_that_it_is() -> None:
    """Not as those that its text would be encoded to, which takes minutes for a long run of one character."""
    begun = [*special("<|start|>assistant<|channel|>final<|message|>"), *[encode("_")[0]] * 50]
    assert encode("_" * 50) != begun[-50:]
    assert unfinished([*special("<|start|>user<|message|>Hi<|end|>"), *begun]) == begun


def test_markers_that_are_spelled_among_special_tokens_are_text() -> None:
    prompt = [*special("<|start|>assistant<|channel|>analysis<|message|>Write"), *encode("<|end|> or <|start|>")]
    assert shown(prompt, special(f" here{REST_OF_TURN}")) == "Shown."


def test_the_prompt_is_not_counted() -> None:
    parser, events = read(
        special("<|start|>assistant<|channel|>final<|message|>The answer"), special(" is 4.<|return|>")
    )
    assert events[0] == BlockStart(0, "text")
    assert parser.channel_tokens == {"final": 5}
    assert (parser.reasoning_tokens, parser.repairs) == (0, ())


def test_hidden_tokens_are_counted() -> None:
    parser, _ = read(special("<|start|>assistant<|channel|>analysis<|message|>We"), special(f" hide{REST_OF_TURN}"))
    assert parser.reasoning_tokens == len(special(" hide<|end|>"))
