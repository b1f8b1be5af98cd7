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
from collections.abc import Callable, Sequence
from contextlib import nullcontext
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
LAST_RATE = 0.01
PLAIN_STEPS = 8
"""Steps before the graphs are recorded: the first ones compile."""

UNTIMED_STEPS = PLAIN_STEPS + 2
"""Compiling and recording are over then, and the clock starts."""

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
    parser.add_argument("--plain", action="store_true", help="without CUDA graphs: half as fast")
    parser.add_argument("--dense", action="store_true", help="plain attention, for machines without a GPU")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


class Trainer:
    """One process of the training. `loss` of a batch is the mean over its learned tokens.

    A step is some thousand small operations, and to start them takes Python longer than they take an accelerator. So
    they are recorded once, as two CUDA graphs: forwards and backwards, and the update; between them is the average.
    """

    def __init__(self, settings: argparse.Namespace) -> None:
        self.settings = settings
        self.rank, self.count = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        self.token_ids = [int(token) for token in settings.vocabulary.read_text().split()]
        forms = token_forms()
        # The workers are forked, which must happen before this process touches the accelerator.
        wanted = Settings(tuple(self.token_ids), settings.rows, settings.exercises, settings.again)
        self.queue = start_workers(wanted, settings.workers, settings.seed * 100 + self.rank)
        self.device = torch.device(f"cuda:{self.rank}" if torch.cuda.is_available() else "cpu")
        self.accelerated = self.device.type == "cuda"
        self.graphs = self.accelerated and not settings.plain
        if self.count > 1:
            torch.cuda.set_device(self.device)
            distributed.init_process_group("nccl", device_id=self.device)
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
        self.gradient = flat_gradient(list(self.model.parameters()))
        self.batch: dict[str, Tensor] = {}
        self.angles = self.model.angles(ROW_LENGTH, self.device)
        self.forward = self._forward if settings.dense else torch.compile(self._forward)
        self.loss = torch.zeros((), device=self.device)
        self._prepare_optimisers()

    def _prepare_optimisers(self) -> None:
        self.rate, self.adam_rate, self.momentum = (torch.zeros((), device=self.device) for _ in range(3))
        named = list(self.model.named_parameters())
        self.muon = Muon([p for name, p in named if _is_hidden_matrix(name)])
        rest = [p for name, p in named if not _is_hidden_matrix(name)]
        kind = {"fused": True, "capturable": True} if self.accelerated else {}
        self.adam = torch.optim.AdamW(rest, lr=self.adam_rate, betas=(0.9, 0.98), weight_decay=0.0, **kind)

    def _forward(self, batch: dict[str, Tensor], masks: tuple[Any, Any]) -> tuple[Tensor, Tensor]:
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

    def learn(self) -> None:
        """The gradients of `batch`; its loss is added to those since the last report."""
        self.gradient.zero_()
        loss, imbalance = self.forward(self.batch, self.masks(self.batch["starts"]))
        (loss + IMBALANCE * imbalance).backward()
        self.loss.add_(loss.detach())

    def update(self) -> None:
        """Change the weights by their gradients."""
        torch.nn.utils.clip_grad_norm_(self.adam.param_groups[0]["params"], 1.0)
        self.adam.step()
        self.muon.step(self.rate, self.momentum)

    def step(self, batch: Batch, progress: float, number: int) -> None:
        """One update; `progress` runs from 0 to 1 over the training."""
        self._receive(batch)
        falling = min(1.0, (1.0 - progress) / (1.0 - self.settings.hold) + LAST_RATE)
        share = min(1.0, (number + 1) / WARM_UP_STEPS) * falling
        self.rate.fill_(self.settings.rate * share)
        self.adam_rate.fill_(self.settings.adam_rate * share)
        self.momentum.fill_(0.85 + 0.1 * min(1.0, number / 300))
        if self.graphs and number == PLAIN_STEPS:
            self.learn, self.update = self._recorded(self.learn), self._recorded(self.update)  # type: ignore[method-assign]
        self.learn()
        if self.count > 1:
            distributed.all_reduce(self.gradient, distributed.ReduceOp.AVG)
        self.update()

    def _recorded(self, work: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=torch.cuda.current_stream(), capture_error_mode="thread_local"):
            work()
        return graph.replay

    def _receive(self, batch: Batch) -> None:
        """Put the batch where the graphs read it. From pinned memory the copy does not wait for the last step."""
        for name, part in vars(batch).items():
            tensor = torch.from_numpy(part)
            if name not in self.batch:
                self.batch[name] = tensor.to(self.device)
            self.batch[name].copy_(tensor.pin_memory() if self.accelerated else tensor, non_blocking=True)

    def train(self) -> None:
        # Graphs are recorded in a stream of their own, and gradients must be made in the one in which they were first.
        with torch.cuda.stream(torch.cuda.Stream()) if self.graphs else nullcontext():
            self._train()

    def _train(self) -> None:
        began = 0.0
        number, progress = 0, self.settings.from_progress
        self._progress, self._reported = progress, 0
        while progress < 1.0 and number < self.settings.steps:
            self.step(self.queue.get(), progress, number)
            number += 1
            if number == UNTIMED_STEPS:
                began = time.monotonic()
            if began:
                done = (time.monotonic() - began) / self.settings.seconds
                progress = self._agreed(done + (1.0 - done) * self.settings.from_progress, number)
            if number % 250 == 0 or number <= 3:
                self._report(number, progress, began)
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

    def _report(self, number: int, progress: float, began: float) -> None:
        if self.rank == 0:
            loss = self.loss.item() / (number - self._reported)
            seconds = time.monotonic() - began if began else 0.0
            line = {"step": number, "loss": round(loss, 4), "progress": round(progress, 3)}
            rate = (number - UNTIMED_STEPS) / seconds if began else 0.0
            line |= {"steps/s": round(rate, 1), "queue": self.queue.qsize()}
            print(json.dumps(line), flush=True)  # noqa: T201
            if not math.isfinite(loss):
                sys.exit("The loss is not finite.")
        self.loss.zero_()
        self._reported = number

    def save(self) -> None:
        if self.rank == 0:
            save(self.model, self.settings.out)


def _is_hidden_matrix(name: str) -> bool:
    return name.endswith("proj.weight")


def flat_gradient(parameters: Sequence[Tensor]) -> Tensor:
    """One tensor of which every parameter's gradient becomes a view, to be averaged and cleared as a whole."""
    gradient = torch.zeros(sum(p.numel() for p in parameters), device=parameters[0].device)
    parts = gradient.split([p.numel() for p in parameters])
    for p, part in zip(parameters, parts, strict=True):
        p.grad = part.view_as(p)
    return gradient


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
