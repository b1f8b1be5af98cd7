"""Text that is sealed with one key opens with that key alone, and is no seal of reasoning."""

from __future__ import annotations

import pytest

from llm_server.harmony.seal import Sealer
from llm_server.sealed_text import TextSealer


def test_what_was_sealed_opens_with_the_same_key_in_another_process() -> None:
    seal = TextSealer(b"secret").seal("Grüße 😀\n")
    assert TextSealer(b"secret").open(seal) == "Grüße 😀\n"
    assert TextSealer(b"other").open(seal) is None


@pytest.mark.parametrize("seal", ["", "nonsense", "ö", "gAAAAA", "\ud800".encode("utf-8", "ignore").decode()])
def test_what_was_not_sealed_here_opens_to_nothing(seal: str) -> None:
    assert TextSealer(b"secret").open(seal) is None


def test_a_sealed_thought_is_no_sealed_text_and_the_other_way_round() -> None:
    thought = Sealer(b"secret").seal([1, 2, 3])
    text = TextSealer(b"secret").seal("Hello")
    assert TextSealer(b"secret").open(thought) is None
    assert Sealer(b"secret").open(text) is None
