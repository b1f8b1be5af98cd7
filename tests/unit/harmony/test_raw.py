"""What is shown of the continuation of a raw prompt: everything but analysis, wherever the prompt leaves off."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

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
    ],
)
def test_analysis_is_hidden_wherever_the_prompt_leaves_off(
    write: Callable[[str], list[int]], prompt: str, generated: str, expected: str
) -> None:
    assert shown(write(prompt), write(generated)) == expected


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
