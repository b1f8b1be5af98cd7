"""The embedded model does what its README says, on prompts that its training never saw, through MLX."""

from __future__ import annotations

import pytest

from gpt_oss_tiny import MODEL_FOLDER
from gpt_oss_tiny.cases import cases
from gpt_oss_tiny.corpus import scenes, training_document
from gpt_oss_tiny.evaluate import SPLITS, load, replies, table

SURE = ("greeting", "question", "untaught", "count", "repeat", "add", "capital", "date", "no tool needed")
"""What it never got wrong when it was measured. The others are in its README."""


def test_what_it_is_sure_of_it_gets_right() -> None:
    wanted = [case for skill in SURE for split in SPLITS for case in cases(skill, split, 2)]
    rows = table(replies(load(), wanted))
    wrong = {skill: row for skill, row in rows.items() if skill != "all" and row["new values"] < 1}
    assert len(wrong) <= 1, wrong
    assert rows["all"]["replies"] >= 30


def test_it_fits_into_the_repository() -> None:
    assert sum(file.stat().st_size for file in MODEL_FOLDER.iterdir()) < 10_000_000


@pytest.mark.parametrize("skill", ["add", "tool call", "count"])
def test_what_it_is_asked_was_not_in_its_training(skill: str) -> None:
    held_out = {scene.last.user for scene in scenes(77, "new values", skill, 20)}
    taught = {scene.last.user for scene in scenes(1, "train", skill, 200)}
    assert held_out
    assert not held_out & taught


def test_the_corpus_is_the_same_for_the_same_seed() -> None:
    assert training_document(5) == training_document(5)
    assert training_document(5) != training_document(6)
