"""What the bench asks and computes, on systems with scripted answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import pytest

from llm_server.bench import main
from llm_server.bench.command import guard_table, report, table
from llm_server.bench.load import JSON, TASK, TEXT, UNGUARDED, Answer, Measurement, Question, measure, questions
from llm_server.bench.systems import BARE, OURS, THEIRS, BenchError, bare_loop
from llm_server.conversation import Conversation, UserText
from llm_server.harmony.render import render


@dataclass
class ScriptedSystem:
    """Gives the next answers of its script, and remembers what it was asked."""

    script: list[list[Answer]]
    name: str = "scripted"
    asked: list[tuple[list[Question], int]] = field(default_factory=list)

    def answer(self, questions: Sequence[Question], max_tokens: int) -> list[Answer]:
        self.asked.append((list(questions), max_tokens))
        return self.script.pop(0)


def _measured() -> tuple[ScriptedSystem, Measurement]:
    cold = [[Answer(9, 10, 100.0), Answer(9, 10, 100.0)]]
    runs = [[Answer(9, 10, seconds / 2), Answer(9, 8, seconds)] for seconds in (1.0, 6.0, 2.0)]
    firsts = [[Answer(9, 1, seconds), Answer(9, 1, seconds)] for seconds in (0.3, 0.1, 0.2)]
    system = ScriptedSystem(cold + runs + firsts)
    return system, measure(system, 2, max_tokens=10, repeats=3, task=TASK)


def test_the_medians_are_of_warm_runs() -> None:
    _, measurement = _measured()
    assert measurement == Measurement(
        streams=2, tokens_per_second=9.0, first_token_seconds=0.2, prompt_tokens=54, tokens=54, short_answers=3
    )


def test_a_system_is_warmed_up_before_it_is_timed() -> None:
    system, _ = _measured()
    assert [max_tokens for _, max_tokens in system.asked] == [10, 10, 10, 10, 1, 1, 1]


def test_no_prompt_is_asked_twice() -> None:
    system, _ = _measured()
    asked = [question for questions, _ in system.asked for question in questions]
    assert len(set(asked)) == len(asked)


def test_prompts_share_no_more_than_their_frame() -> None:
    frame = len(render(Conversation((UserText(""),))).tokens) + 20
    prompts = [question.tokens for run in range(2) for question in questions(8, run, TASK)]
    assert all(80 < len(prompt) < 120 for prompt in prompts)
    assert max(_common(one, other) for one, other in combinations(prompts, 2)) < frame


def _common(one: list[int], other: list[int]) -> int:
    return next(index for index, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1])


def _result(speed: float, first: float, short: int = 0) -> Measurement:
    return Measurement(8, speed, first, 800, 800, short)


_BLOCKS = {UNGUARDED: [100.0, 200.0, 50.0], TEXT: [99.0, 190.0, 48.0], JSON: [90.0, 160.0, 50.0]}
"""The machine changes its pace, and all kinds with it."""


def test_the_report_has_the_ratios_and_the_table_its_rows() -> None:
    results = {BARE: [_result(200, 0.1)], OURS: [_result(180, 0.2)], THEIRS: [_result(90, 0.4, short=2)]}
    written = json.loads(json.dumps(report(Path("/m"), 96, 3, results, [_BLOCKS])))
    (row,) = written["rows"]
    assert row["ratios"]["tokens_per_second"] == {BARE: 0.9, THEIRS: 2.0}
    assert row["ratios"]["first_token_seconds"] == {BARE: 2.0, THEIRS: 0.5}
    assert row["guard"]["ratios"] == {TEXT: 0.96, JSON: 0.9}
    assert guard_table(written).splitlines()[2].split() == ["8", "100.0", "99.0", "90.0", "0.96", "0.90"]
    line = table(written).splitlines()[3]
    expected = "8 200.0 180.0 90.0 0.90 2.00 100.0 200.0 400.0 (2 answers ended early)"
    assert " ".join(line.split()) == expected


def test_a_system_that_does_not_start_shows_its_log(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no Hugging Face repo id"), bare_loop("./nowhere", tmp_path):
        pass


def test_a_model_that_is_not_there_ends_the_command_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--model", "./nowhere"])
    assert exit_.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("option", [["--streams", "0"], ["--streams", "many"], ["--tokens", "x"], ["--nonsense"]])
def test_impossible_options_are_refused(option: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(option)
