"""Train the embedded model from nothing: `python -m gpt_oss_tiny.train --vocabulary ids.txt --out DIR --seconds 840`.

On several accelerators of one machine: `torchrun --nproc-per-node 2 -m gpt_oss_tiny.train …`. Needs PyTorch, which the
project does not depend on.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as distributed
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from gpt_oss_tiny.batches import IGNORED, ROW_LENGTH, Batch, Settings, start_workers
from gpt_oss_tiny.muon import Muon
from gpt_oss_tiny.token_forms import token_forms
from gpt_oss_tiny.torch_model import GptOss, Sizes, block_mask, dense_masks, lowest_places
from llm_server.harmony.encoding import VOCABULARY_SIZE

WARM_UP_STEPS = 200
IMBALANCE = 0.01
PARTS = 3
TABLES = ("token_ids", "codes", "spelled", "pieces")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--vocabulary", type=Path, required=True, help="token ids, as gpt_oss_tiny.vocabulary prints them"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--seconds", type=float, default=840, help="how long to train")
    parser.add_argument("--steps", type=int, default=10**9, help="end after so many steps, if sooner")
    parser.add_argument("--workers", type=int, default=14, help="processes that make batches, per accelerator")
    parser.add_argument("--rows", type=int, default=2, help="rows of 16,384 tokens in a batch, per accelerator")
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--expert-size", type=int, default=192)
    parser.add_argument("--rate", type=float, default=0.02, help="learning rate of the hidden matrices (Muon)")
    parser.add_argument("--adam-rate", type=float, default=0.003, help="learning rate of everything else (AdamW)")
    parser.add_argument("--hold", type=float, default=0.35, help="share of the time before the rates begin to fall")
    parser.add_argument("--resume-from", type=Path, help="checkpoint to go on from")
    parser.add_argument("--from-progress", type=float, default=0.0, help="share of the training that is done already")
    parser.add_argument("--exercises", type=float, default=0.15, help="share of copying exercises")
    parser.add_argument("--again", type=float, default=0.5, help="share of scenes that are taken a second time")
    parser.add_argument("--dense", action="store_true", help="plain attention, for machines without a GPU")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


class Trainer:
    """One process of the training. `loss` of a batch is the mean over its learned tokens."""

    def __init__(self, settings: argparse.Namespace) -> None:
        self.settings = settings
        self.rank, self.count = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        self.token_ids = [int(token) for token in settings.vocabulary.read_text().split()]
        forms = token_forms()
        # The workers are forked, which must happen before this process touches the accelerator.
        wanted = Settings(tuple(self.token_ids), settings.rows, settings.exercises, settings.again)
        self.queue = start_workers(wanted, settings.workers, settings.seed * 100 + self.rank)
        self.device = torch.device(f"cuda:{self.rank}" if torch.cuda.is_available() else "cpu")
        if self.count > 1:
            torch.cuda.set_device(self.device)
            distributed.init_process_group("nccl")
        torch.manual_seed(settings.seed)
        torch.set_float32_matmul_precision("high")
        sizes = Sizes(
            len(self.token_ids),
            len(forms.pieces),
            num_hidden_layers=settings.layers,
            intermediate_size=settings.expert_size,
        )
        self.model = GptOss(sizes, self.token_ids, forms).to(self.device)
        if settings.resume_from:
            load(self.model, self.token_ids, settings.resume_from)
        named = list(self.model.named_parameters())
        matrices = [p for name, p in named if _is_hidden_matrix(name)]
        rest = [p for name, p in named if not _is_hidden_matrix(name)]
        self.muon = Muon(matrices)
        self.adam = torch.optim.AdamW(
            rest, lr=0.0, betas=(0.9, 0.98), weight_decay=0.0, fused=self.device.type == "cuda"
        )
        self.angles = self.model.angles(ROW_LENGTH, self.device)
        self.loss = self._loss if settings.dense else torch.compile(self._loss)

    def _loss(self, batch: dict[str, Tensor], masks: tuple[Any, Any]) -> tuple[Tensor, Tensor]:
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            embeddings, outputs = self.model.vocabulary(batch["others"])
            hidden, imbalance = self.model(F.embedding(batch["rows"], embeddings), *self.angles, masks)
            logits = F.linear(hidden.flatten(0, 1)[batch["places"]], outputs)
        offsets = F.pad(batch["offsets"], (len(self.token_ids), 0))
        return F.cross_entropy(logits.float() + offsets, batch["labels"], ignore_index=IGNORED), imbalance

    def masks(self, starts: Tensor) -> tuple[Any, Any]:
        window = self.model.sizes.sliding_window
        if self.settings.dense:
            return dense_masks(starts, window)
        sliding, full = lowest_places(starts, window)
        return block_mask(sliding), block_mask(full)

    def step(self, batch: Batch, progress: float, number: int) -> Tensor:
        """One update; `progress` runs from 0 to 1 over the training."""
        moved = {name: self._moved(part) for name, part in vars(batch).items()}
        loss, imbalance = self.loss(moved, self.masks(moved.pop("starts")))
        (loss + IMBALANCE * imbalance).backward()
        self._average()
        torch.nn.utils.clip_grad_norm_(self.adam.param_groups[0]["params"], 1.0)
        falling = min(1.0, (1.0 - progress) / (1.0 - self.settings.hold) + 0.01)
        share = min(1.0, (number + 1) / WARM_UP_STEPS) * falling
        self.adam.param_groups[0]["lr"] = self.settings.adam_rate * share
        self.adam.step()
        self.muon.step(self.settings.rate * share, momentum=0.85 + 0.1 * min(1.0, number / 300))
        self.model.zero_grad(set_to_none=True)
        return loss.detach()

    def _moved(self, part: Any) -> Tensor:
        tensor = torch.from_numpy(part)
        if self.device.type == "cpu":
            return tensor
        # From pinned memory the copy does not wait for the steps that are still running.
        return tensor.pin_memory().to(self.device, non_blocking=True)

    def _average(self) -> None:
        if self.count == 1:
            return
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        distributed.all_reduce(flat, distributed.ReduceOp.AVG)
        parts = flat.split([g.numel() for g in gradients])
        torch._foreach_copy_(gradients, [part.view_as(g) for part, g in zip(parts, gradients, strict=True)])

    def train(self) -> None:
        began = 0.0
        number, progress = 0, self.settings.from_progress
        self._progress = progress
        while progress < 1.0 and number < self.settings.steps:
            loss = self.step(self.queue.get(), progress, number)
            number += 1
            if number == 10:
                # Compilation is over: the clock starts here.
                began = time.monotonic()
            if number > 10:
                done = (time.monotonic() - began) / self.settings.seconds
                progress = self._agreed(done + (1.0 - done) * self.settings.from_progress, number)
            if number % 250 == 0 or number <= 3:
                self._report(number, loss, progress, began)
            if number % 2000 == 0:
                self.save()
        self.save()

    def _agreed(self, progress: float, number: int) -> float:
        """All processes must stop at the same step, so the first one's clock counts. Asked now and then only."""
        if self.count == 1:
            return progress
        if number % 50:
            return self._progress
        shared = torch.tensor([progress], device=self.device)
        distributed.broadcast(shared, 0)
        self._progress = float(shared.item())
        return self._progress

    def _report(self, number: int, loss: Tensor, progress: float, began: float) -> None:
        if self.rank == 0:
            seconds = time.monotonic() - began if began else 0.0
            line = {"step": number, "loss": round(loss.item(), 4), "progress": round(progress, 3)}
            rate = (number - 10) / seconds if began else 0.0
            line |= {"steps/s": round(rate, 1), "queue": self.queue.qsize()}
            print(json.dumps(line), flush=True)  # noqa: T201
            if not math.isfinite(loss.item()):
                sys.exit("The loss is not finite.")

    def save(self) -> None:
        if self.rank == 0:
            save(self.model, self.settings.out)


def _is_hidden_matrix(name: str) -> bool:
    return name.endswith("proj.weight")


def load(model: GptOss, token_ids: list[int], folder: Path) -> None:
    """Take over a checkpoint's weights; it may have rows of its own for other ids, of which it takes the shared."""
    weights: dict[str, Tensor] = {}
    for part in sorted(folder.glob("model-*.safetensors")):
        weights.update(load_file(part))
    known = {token: row for row, token in enumerate(weights["token_ids"].tolist())}
    theirs = weights.pop("model.embed_tokens.weight")
    ours = model.embed_tokens.weight.data
    shared = [(row, known[token]) for row, token in enumerate(token_ids) if token in known]
    ours[[row for row, _ in shared]] = theirs[[row for _, row in shared]].to(ours.device)
    ours[len(token_ids) :] = theirs[len(known) :].to(ours.device)
    named = {n.removeprefix("model."): w for n, w in weights.items() if n not in TABLES}
    missing, unexpected = model.load_state_dict(named, strict=False)
    assert missing == ["embed_tokens.weight"], missing
    assert not unexpected, unexpected


def tables(model: GptOss) -> dict[str, Tensor]:
    """What the model knows of the vocabulary besides its weights, as `llm_server.engine.reduced_vocabulary` has it."""
    rows, spelling = model.embed_tokens.code_rows[:-1].cpu(), model.embed_tokens.spelling.cpu()
    sizes = model.sizes
    first, second, form = rows.unbind(-1)
    codes = torch.stack(((form - 2 * sizes.word_codes) * sizes.word_codes + first, second - sizes.word_codes))
    spelled = (spelling[:, 0] < VOCABULARY_SIZE).nonzero().flatten()
    tables = (model.embed_tokens.own_ids.cpu().int(), codes.to(torch.uint16), spelled.int(), spelling[spelled].int())
    return dict(zip(TABLES, tables, strict=True))


def save(model: GptOss, folder: Path) -> None:
    """Write `config.json` and the weights in float32, in files of some 10 MB with mlx_lm's names."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(model.sizes.config(), indent=2))
    weights = {_mlx_name(name): p.detach().contiguous().cpu() for name, p in model.named_parameters()}
    weights |= tables(model)
    parts: list[dict[str, Tensor]] = [{} for _ in range(PARTS)]
    for name in sorted(weights, key=lambda name: -weights[name].nbytes):
        min(parts, key=lambda part: sum(t.nbytes for t in part.values()))[name] = weights[name]
    for number, part in enumerate(parts):
        file = folder / f"part-{number}.tmp"
        save_file(part, file)
        file.replace(folder / f"model-{number}.safetensors")


def _mlx_name(name: str) -> str:
    return name if name.startswith("spelling") else f"model.{name}"


if __name__ == "__main__":
    Trainer(options()).train()
