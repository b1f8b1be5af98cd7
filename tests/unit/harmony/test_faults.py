"""What is known of grammars: the latest, by their digests."""

from __future__ import annotations

import sys

from llm_server.harmony.faults import KnownFaults


def test_what_was_found_is_known_and_the_least_recently_used_is_forgotten() -> None:
    known = KnownFaults(2)
    known.add("first", "")
    known.add("second", "too complex")
    assert known.find("first") == ""
    known.add("third", "")
    assert [known.find(text) for text in ("first", "second", "third")] == ["", None, ""]


def test_long_texts_are_not_kept() -> None:
    known, text = KnownFaults(2), "x" * 1_000_000 + "\ud800"
    before = sys.getrefcount(text)
    known.add(text, "")
    assert known.find(text) == ""
    assert sys.getrefcount(text) == before
