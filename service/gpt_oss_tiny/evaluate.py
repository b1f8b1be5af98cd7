"""How well the model does what it was taught, on prompts it never saw: `python -m gpt_oss_tiny.evaluate`.

Every reply is generated greedily, on a CPU, several at a time, by the engine's own batch with the guard, as the server
does it; or freely, without the guard. It is right or wrong as a whole: the texts, the tool's name, the arguments, the
end of the turn. What the model thinks is counted in a column of its own. `--everyday` asks what was written by hand.
"""

# mypy: allow-untyped-calls
# (mlx_lm has no annotations)

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

from llm_server.engine.blas import use_openblas

use_openblas()  # before MLX is imported

# ruff: noqa: E402
import mlx.core as mx
from mlx_lm.utils import load_model

from gpt_oss_tiny import MODEL_FOLDER
from gpt_oss_tiny.cases import Case, cases
from gpt_oss_tiny.corpus import SKILLS
from gpt_oss_tiny.draw import Split
from gpt_oss_tiny.everyday import Everyday, everyday
from llm_server.conversation import GenerationRequest, Sampling
from llm_server.engine.batch import Batch
from llm_server.engine.cpu import for_cpu
from llm_server.engine.guard import Grammars
from llm_server.engine.reduced_vocabulary import model_classes
from llm_server.engine.types import Submit
from llm_server.harmony.encoding import STOP_TOKENS, VOCABULARY_SIZE, harmony_encoding
from llm_server.harmony.grammar import turn_grammar
from llm_server.harmony.guard import guard_tokenizer

SPLITS: Final[tuple[Split, ...]] = ("new values", "new phrasings")
BATCH: Final = 16
PREFILL_STEP_SIZE: Final = 512
SPARE_TOKENS: Final = 24
"""How much longer than the right reply a wrong one may grow before it is cut off."""


class Asked(Protocol):
    """What can be evaluated: a request, its prompt, and whether a reply of at most so many tokens is right."""

    @property
    def request(self) -> GenerationRequest: ...
    @property
    def prompt(self) -> list[int]: ...
    @property
    def longest(self) -> int: ...
    def passed(self, emitted: list[int], /) -> bool: ...


AnyAsked = TypeVar("AnyAsked", bound=Asked)


@dataclass(frozen=True)
class Outcome(Generic[AnyAsked]):
    case: AnyAsked
    emitted: list[int]

    @property
    def passed(self) -> bool:
        return self.case.passed(self.emitted)


def load(folder: Path = MODEL_FOLDER) -> Any:
    """The model as the engine runs it on a CPU, in float32."""
    mx.set_default_device(mx.cpu)
    model, _ = load_model(folder, get_model_classes=model_classes)
    return for_cpu(model)


def replies(model: Any, wanted: Iterable[AnyAsked], *, guarded: bool = True) -> Iterator[Outcome[AnyAsked]]:
    """The model's own reply to each case, in the order in which they end."""
    grammars = Grammars(guard_tokenizer, VOCABULARY_SIZE) if guarded else None
    batch = Batch(model, max_concurrency=BATCH, prefill_step_size=PREFILL_STEP_SIZE, grammars=grammars)
    waiting = deque(wanted)
    running: dict[int, Outcome[AnyAsked]] = {}
    while waiting or running:
        while waiting and len(running) < BATCH:
            case = waiting.popleft()
            running[batch.insert(_submission(case)).sequence] = Outcome(case, [])
        for decoded in batch.step().decoded:
            running[decoded.sequence].emitted.append(decoded.token)
            if decoded.finish:
                yield running.pop(decoded.sequence)


def _submission(case: Asked) -> Submit:
    limit = case.longest + SPARE_TOKENS
    return Submit("", case.prompt, limit, list(STOP_TOKENS), Sampling(temperature=0), turn_grammar(case.request))


def table(outcomes: Iterable[Outcome[Case]]) -> dict[str, dict[str, float]]:
    """Per skill: shares of right replies by split, share of right analyses, and how many replies that is."""
    grouped: dict[str, list[Outcome[Case]]] = defaultdict(list)
    for outcome in outcomes:
        grouped[outcome.case.skill].append(outcome)
        grouped["all"].append(outcome)
    return {skill: _row(grouped[skill]) for skill in sorted(grouped, key=lambda name: (name == "all", name))}


def _row(outcomes: list[Outcome[Case]]) -> dict[str, float]:
    row: dict[str, float] = {split: _share([o.passed for o in outcomes if o.case.split == split]) for split in SPLITS}
    thought = _share([o.case.thought_right(o.emitted) for o in outcomes])
    return {**row, "analysis": thought, "replies": len(outcomes)}


def _share(passed: list[bool]) -> float:
    return sum(passed) / len(passed) if passed else float("nan")


def _print(rows: dict[str, dict[str, float]]) -> None:
    print(f"| {'skill':<18} | {' | '.join(SPLITS)} | analysis | replies |")
    print(f"|{'-' * 20}|{'|'.join('-' * (len(split) + 1) + ':' for split in SPLITS)}|---------:|--------:|")
    for skill, row in rows.items():
        shares = " | ".join(f"{row[split]:>{len(split)}.1%}" for split in SPLITS)
        print(f"| {skill:<18} | {shares} | {row['analysis']:>8.1%} | {row['replies']:>7.0f} |")


def _print_wrong(outcomes: Iterable[Outcome[Case]]) -> None:
    for outcome in outcomes:
        if not outcome.passed:
            right = harmony_encoding().decode(outcome.case.expected)
            _print_reply(f"{outcome.case.skill}, {outcome.case.split}", outcome, right)


def _print_reply(name: str, outcome: Outcome[Any], right: str) -> None:
    decode = harmony_encoding().decode
    print(f"\n[{name}] …{decode(outcome.case.prompt)[-300:]}\n  said:  {decode(outcome.emitted)}\n  right: {right}")


def _print_everyday(outcomes: Iterable[Outcome[Everyday]], *, wrong: bool) -> None:
    passed: dict[str, list[bool]] = defaultdict(list)
    for outcome in outcomes:
        passed[outcome.case.skill].append(outcome.passed)
        if wrong and not outcome.passed:
            _print_reply(outcome.case.skill, outcome, str(outcome.case.call or outcome.case.says))
    for skill, right in passed.items():
        print(f"{skill}: {sum(right)} of {len(right)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--per-skill", type=int, default=25, help="scenes per skill and split (default 25)")
    parser.add_argument("--skill", choices=tuple(SKILLS), action="append", help="only this skill; may be repeated")
    parser.add_argument("--model", type=Path, default=MODEL_FOLDER)
    parser.add_argument("--unguarded", action="store_true", help="the model alone, whatever it says")
    parser.add_argument("--json", action="store_true", help="print JSON rather than a table")
    parser.add_argument("--wrong", action="store_true", help="print every wrong reply, too")
    parser.add_argument(
        "--everyday",
        action="store_true",
        help="instead, requests written by hand; of the other options it knows --model, --unguarded and --wrong",
    )
    chosen = parser.parse_args()
    if chosen.everyday:
        _print_everyday(replies(load(chosen.model), everyday(), guarded=not chosen.unguarded), wrong=chosen.wrong)
        return
    skills = chosen.skill or tuple(SKILLS)
    wanted = [case for skill in skills for split in SPLITS for case in cases(skill, split, chosen.per_skill)]
    wanted.sort(key=lambda case: len(case.prompt))
    began = time.monotonic()
    outcomes = list(replies(load(chosen.model), wanted, guarded=not chosen.unguarded))
    rows = table(outcomes)
    if chosen.json:
        print(json.dumps(rows, indent=2))
    else:
        _print(rows)
    if chosen.wrong:
        _print_wrong(outcomes)
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
