"""The command: its options, the order of measurements, the table and the JSON file."""

from __future__ import annotations

import argparse
import json
import platform
import signal
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gpt_oss_tiny import MODEL_FOLDER
from llm_server import __version__
from llm_server.bench.load import JSON, KINDS, STORY, TASK, TEXT, UNGUARDED, Measurement, System, measure
from llm_server.bench.reference_folder import write_reference_folder
from llm_server.bench.systems import (
    BARE,
    OURS,
    THEIRS,
    BenchError,
    bare_loop,
    guarded_batch,
    mlx_lm_server,
    this_server,
)
from llm_server.model_download import fetch_model
from llm_server.model_files import ModelError, read_model_files
from llm_server.model_source import HubRepo, LocalFolder, choose_model, this_machine
from llm_server.settings import SettingsError, exit_on_error, load_settings


def main(arguments: Sequence[str]) -> int:
    """Measure, print the table and write the file. Returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        folder = _folder(options.model)
        with _ending_on_sigterm():
            results = _measured(folder, options)
            guarded = _guarded(folder, options)
    except (SettingsError, ModelError, BenchError) as error:
        exit_on_error(error)
    measured = report(folder, options.tokens, options.repeats, results, guarded)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(measured, indent=2) + "\n")
    _print(table(measured), "", guard_table(measured), f"\nWritten to {options.json}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="llm-server bench",
        description="Measure tokens per second and the time to the first token: a bare loop over mlx-lm's"
        " BatchGenerator, this server over HTTP, and mlx_lm.server over HTTP, on the same model. Then measure what"
        " guarded decoding costs: the engine's batch with grammars and without.",
    )
    parser.add_argument("--model", help="a model directory, a Hugging Face repo id or `tiny` [LLM_MODEL_PATH]")
    parser.add_argument("--streams", type=_numbers, default=[1, 8, 32], help="numbers of streams (default: 1,8,32)")
    parser.add_argument("--tokens", type=int, default=64, help="length of each answer (default: %(default)s)")
    parser.add_argument(
        "--repeats", type=int, default=3, help="runs of which the median is taken (default: %(default)s)"
    )
    parser.add_argument(
        "--json", type=Path, default=Path("build/bench.json"), help="where to write (default: %(default)s)"
    )
    return parser


def _numbers(text: str) -> list[int]:
    numbers = [int(part) for part in text.split(",")]
    if not numbers or min(numbers) < 1:
        raise ValueError(text)
    return numbers


def _folder(model: str | None) -> Path:
    choice = choose_model(load_settings(model_path=model), this_machine())
    match choice.source:
        case LocalFolder(path):
            return path
        case HubRepo():
            return fetch_model(choice.source)


@contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """As on Ctrl-C, so that no system is left running."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _measured(folder: Path, options: argparse.Namespace) -> dict[str, list[Measurement]]:
    """One system after the other, each alone on the machine."""
    task = TASK if folder == MODEL_FOLDER else STORY
    results: dict[str, list[Measurement]] = {}
    with tempfile.TemporaryDirectory(prefix="llm-server-bench-") as scratch:
        for starting in _systems(folder, max(options.streams), Path(scratch)):
            with starting as system:
                results[system.name] = list(_measure_each(system, options, task))
    if len({tuple(run.prompt_tokens for run in runs) for runs in results.values()}) > 1:
        raise BenchError("the systems did not read the same number of tokens: they can not be compared")
    return results


def _systems(folder: Path, streams: int, scratch: Path) -> Iterator[AbstractContextManager[System]]:
    yield bare_loop(str(folder), scratch)
    yield this_server(str(folder), streams, scratch)
    yield mlx_lm_server(write_reference_folder(read_model_files(folder), scratch / "model"), streams, scratch)


def _measure_each(system: System, options: argparse.Namespace, task: str) -> Iterator[Measurement]:
    for streams in options.streams:
        _note(f"{system.name}: {streams} streams")
        yield measure(system, streams, max_tokens=options.tokens, repeats=options.repeats, task=task)


def _guarded(folder: Path, options: argparse.Namespace) -> list[dict[str, list[float]]]:
    """Tokens per second of each block of steps, by kind of guard, for each number of streams."""
    measured: list[dict[str, list[float]]] = []
    with (
        tempfile.TemporaryDirectory(prefix="llm-server-bench-") as scratch,
        guarded_batch(str(folder), Path(scratch)) as batch,
    ):
        for streams in options.streams:
            _note(f"guarded and unguarded decoding: {streams} streams")
            measured.append(batch.speeds(streams, tokens=options.tokens, repeats=options.repeats))
    return measured


def report(
    folder: Path,
    tokens: int,
    repeats: int,
    results: dict[str, list[Measurement]],
    guarded: Sequence[dict[str, list[float]]],
) -> dict[str, Any]:
    """What is written as JSON: the measurements of each number of streams, and their ratios."""
    rows = [
        _row({name: asdict(runs[index]) for name, runs in results.items()}) | {"guard": _guard(blocks)}
        for index, blocks in enumerate(guarded)
    ]
    return {
        "model": str(folder),
        "answer_tokens": tokens,
        "repeats": repeats,
        "machine": {"system": platform.platform(), "processor": platform.machine()},
        "versions": {"llm-server": __version__} | {name: version(name) for name in ("mlx", "mlx-lm")},
        "rows": rows,
    }


def _row(systems: dict[str, dict[str, Any]]) -> dict[str, Any]:
    speed = {name: result["tokens_per_second"] for name, result in systems.items()}
    first = {name: result["first_token_seconds"] for name, result in systems.items()}
    return {
        "streams": systems[OURS]["streams"],
        "systems": systems,
        "ratios": {
            "tokens_per_second": {BARE: speed[OURS] / speed[BARE], THEIRS: speed[OURS] / speed[THEIRS]},
            "first_token_seconds": {BARE: first[OURS] / first[BARE], THEIRS: first[OURS] / first[THEIRS]},
        },
    }


def _guard(blocks: dict[str, list[float]]) -> dict[str, Any]:
    """A ratio is the median of those between blocks that followed upon each other: the machine may change its pace."""
    unguarded = blocks[UNGUARDED]
    ratios = {
        kind: statistics.median(on / off for on, off in zip(blocks[kind], unguarded, strict=True))
        for kind in (TEXT, JSON)
    }
    speeds = {kind: statistics.median(blocks[kind]) for kind in KINDS}
    return {"tokens_per_second": speeds, "ratios": ratios}


def table(report: dict[str, Any]) -> str:
    """A report for people."""
    lines = [
        f"{report['answer_tokens']} tokens per answer, median of {report['repeats']} runs, {report['model']}",
        f"{'':>8}  {'tokens per second':^45}  {'time to first token, ms (p50)':^37}",
        f"{'streams':>8}" + f"  {BARE:>11}{OURS:>11}{THEIRS:>14}  ratios   " + f"  {BARE:>11}{OURS:>11}{THEIRS:>14}",
    ]
    meaning = (
        "Ratios: llm-server to the bare loop, and to mlx_lm.server. Every system had the same prompts and weights."
    )
    return "\n".join([*lines, *map(_table_row, report["rows"]), meaning])


def guard_table(report: dict[str, Any]) -> str:
    """What guarded decoding costs, for people."""
    lines = [
        "Decoding alone, tokens per second, by what guards it:",
        f"{'streams':>8}" + "".join(f"{kind:>11}" for kind in KINDS) + "  ratios",
    ]
    rows = [(row["streams"], row["guard"]["tokens_per_second"], row["guard"]["ratios"]) for row in report["rows"]]
    lines += [
        f"{streams:>8}"
        + "".join(f"{speeds[kind]:>11.1f}" for kind in KINDS)
        + f"  {ratios[TEXT]:.2f} {ratios[JSON]:.2f}"
        for streams, speeds, ratios in rows
    ]
    meaning = "Ratios: turns of free text and tools, and answers that must be JSON, to those that nothing guards."
    return "\n".join([*lines, meaning])


def _table_row(row: dict[str, Any]) -> str:
    names = (BARE, OURS, THEIRS)
    speeds = [row["systems"][name]["tokens_per_second"] for name in names]
    firsts = [1000 * row["systems"][name]["first_token_seconds"] for name in names]
    ratios = row["ratios"]["tokens_per_second"]
    short = sum(result["short_answers"] for result in row["systems"].values())
    return (
        f"{row['streams']:>8}  {speeds[0]:>11.1f}{speeds[1]:>11.1f}{speeds[2]:>14.1f}"
        f"  {ratios[BARE]:.2f} {ratios[THEIRS]:.2f}"
        f"    {firsts[0]:>11.1f}{firsts[1]:>11.1f}{firsts[2]:>14.1f}"
        + (f"  ({short} answers ended early)" if short else "")
    )


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def _print(*lines: str) -> None:
    print(*lines, sep="\n")  # noqa: T201
