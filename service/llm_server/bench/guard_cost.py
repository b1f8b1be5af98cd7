"""What guarded decoding costs: the engine's own batch with grammars and without, in a process of its own.

Reads lines of JSON, `{"streams": n, "tokens": n, "repeats": n}`, and answers each with one: for each of `KINDS` the
tokens per second of every block of steps. Only decoding is timed. The kinds take turns, block by block, so that
whatever else the machine does meets all of them; they have the same prompts, and a row that would end goes on, so that
every step has as many rows.
"""

# mypy: allow-untyped-calls
# (mx.synchronize has no annotations)

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from llm_server.engine.blas import use_openblas

use_openblas()  # before MLX is imported

# ruff: noqa: E402
import mlx.core as mx

from gpt_oss_tiny import MODEL_FOLDER
from llm_server.bench.load import JSON, KINDS, STORY, TASK, TEXT, UNGUARDED, questions
from llm_server.conversation import Conversation, GenerationRequest, Sampling, Tool, ToolChoice, UserText
from llm_server.engine.batch import Batch
from llm_server.engine.found import find_model
from llm_server.engine.guard import Grammars
from llm_server.engine.loading import load
from llm_server.engine.types import Submit
from llm_server.harmony.encoding import VOCABULARY_SIZE
from llm_server.harmony.grammar import turn_grammar
from llm_server.harmony.guard import guard_tokenizer
from llm_server.model_files import ModelError
from llm_server.settings import exit_on_error, load_settings

BLOCK: Final = 16
"""Steps that are timed together. The first one of a block has nobody to overlap with, in every kind."""

_RECORD: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 80},
        "count": {"type": "integer", "minimum": 0, "maximum": 1000},
        "kind": {"enum": ["animal", "mineral", "vegetable"]},
    },
    "required": ["name", "count", "kind"],
    "additionalProperties": False,
}
_RECORDS: Final[Mapping[str, Any]] = {"type": "array", "items": _RECORD, "minItems": 1000}
"""Longer than anything that is measured."""


def main() -> None:
    settings = load_settings(model_path=sys.argv[1])
    try:
        loaded = load(find_model(settings), settings.quantization)
    except ModelError as error:
        exit_on_error(error)
    grammars = Grammars(guard_tokenizer, VOCABULARY_SIZE)
    task = TASK if settings.model_path in ("tiny", str(MODEL_FOLDER)) else STORY

    def batch(streams: int) -> Batch:
        step_size = loaded.prefill_step_size(settings)
        return Batch(loaded.model, max_concurrency=streams, prefill_step_size=step_size, grammars=grammars)

    print("ready", flush=True)  # noqa: T201
    for line in sys.stdin:
        print(json.dumps(speeds(batch, task=task, **json.loads(line))), flush=True)  # noqa: T201


def speeds(
    batch: Callable[[int], Batch], *, task: str, streams: int, tokens: int, repeats: int
) -> dict[str, list[float]]:
    """Tokens per second of all streams together, for each block of each kind; `tokens` fill whole blocks."""
    grammars = _grammars()
    measured: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for run in range(repeats):
        prompts = [question.tokens for question in questions(streams, run, task)]
        batches = {kind: _decoding(batch(streams), prompts, grammars[kind]) for kind in KINDS}
        for _ in range(-(-tokens // BLOCK)):
            for kind in KINDS:
                measured[kind].append(_speed(batches[kind]))
    return measured


def _grammars() -> dict[str, str]:
    """By kind. No prompt tells of the tools and the schema: what is measured is the mask, not what the model makes."""
    tools = (Tool("lookup", "Looks up a record.", _RECORD), Tool("get_time", "Gets the time."))
    request = GenerationRequest(Conversation((UserText(""),), tools))
    structured = replace(request, tool_choice=ToolChoice("none"), answer_schema=_RECORDS, reasoning_budget=0)
    return {UNGUARDED: "", TEXT: turn_grammar(request), JSON: turn_grammar(structured)}


def _decoding(batch: Batch, prompts: list[list[int]], grammar: str) -> Batch:
    """The batch with all prompts read and every row past its headers."""
    submissions = [Submit("", prompt, sys.maxsize, [], Sampling(temperature=0), grammar) for prompt in prompts]
    decoded = {batch.insert(submission).sequence: 0 for submission in submissions}
    while min(decoded.values()) < BLOCK:
        for token in batch.step().decoded:
            decoded[token.sequence] += 1
    mx.synchronize()
    return batch


def _speed(batch: Batch) -> float:
    started = time.perf_counter()
    count = sum(len(batch.step().decoded) for _ in range(BLOCK))
    mx.synchronize()
    return count / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
