"""What ships can be unpacked to be trained on, and becomes a model again."""

from __future__ import annotations

import json
from pathlib import Path

import mlx.core as mx
import pytest
from mlx.utils import tree_flatten

from gpt_oss_tiny import MODEL_FOLDER
from gpt_oss_tiny.convert import convert, mean_of, unpack

MOST_BYTES = 10_000_000


def test_what_ships_can_be_unpacked_and_shipped_again(tmp_path: Path) -> None:
    checkpoint, again, twice = (tmp_path / name for name in ("checkpoint", "again", "twice"))
    unpack(MODEL_FOLDER, checkpoint)
    assert convert([checkpoint], again) < MOST_BYTES
    unpack(again, twice)
    ours, theirs = (_weights(folder / "model-0.safetensors") for folder in (checkpoint, twice))
    assert ours.keys() == theirs.keys()
    assert all(_distance(ours[name], theirs[name]) < 0.01 for name in ours)
    for name in ("config.json", "generation_config.json"):
        assert json.loads((again / name).read_text()) == json.loads((MODEL_FOLDER / name).read_text())


def test_a_checkpoint_tells_which_ids_it_knows(tmp_path: Path) -> None:
    unpack(MODEL_FOLDER, tmp_path)
    ids = [int(token) for token in (tmp_path / "ids.txt").read_text().split()]
    assert ids == _weights(MODEL_FOLDER / "model.safetensors")["token_ids"].tolist()
    assert len(ids) == json.loads((tmp_path / "config.json").read_text())["reduced_vocabulary"]


def test_of_several_checkpoints_the_mean_is_taken(tmp_path: Path) -> None:
    unpack(MODEL_FOLDER, tmp_path / "one")
    ours = _weights(tmp_path / "one" / "model-0.safetensors")
    theirs = {n: 4 * w if mx.issubdtype(w.dtype, mx.floating) else w for n, w in ours.items()}
    _write(tmp_path / "other", theirs)
    model, _ = mean_of([tmp_path / "one", tmp_path / "other", tmp_path / "one"])
    mean = dict(tree_flatten(model.parameters()))
    floats = [name for name, weight in ours.items() if mx.issubdtype(weight.dtype, mx.floating)]
    assert all(_distance(2 * ours[name], mean[name]) < 1e-5 for name in floats)
    assert all(mx.array_equal(ours[name], mean[name]) for name in set(ours) - set(floats))


def test_checkpoints_that_know_other_ids_have_no_mean(tmp_path: Path) -> None:
    unpack(MODEL_FOLDER, tmp_path / "one")
    ours = _weights(tmp_path / "one" / "model-0.safetensors")
    _write(tmp_path / "other", ours | {"token_ids": ours["token_ids"] + 1})
    with pytest.raises(ValueError, match="rows of its own for other ids"):
        mean_of([tmp_path / "one", tmp_path / "other"])


def _write(folder: Path, weights: dict[str, mx.array]) -> None:
    folder.mkdir()
    (folder / "config.json").write_bytes((folder.parent / "one" / "config.json").read_bytes())
    mx.save_safetensors(str(folder / "model-0.safetensors"), weights)


def _weights(file: Path) -> dict[str, mx.array]:
    weights = mx.load(str(file))
    assert isinstance(weights, dict)
    return weights


def _distance(ours: mx.array, theirs: mx.array) -> float:
    ours, theirs = ours.astype(mx.float32), theirs.astype(mx.float32)
    return float(abs((mx.linalg.norm(ours - theirs) / mx.linalg.norm(ours)).item()))
