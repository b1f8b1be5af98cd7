"""What the engine's loop needs of a decoder of batches: sequences join and leave at any step. Ints and floats only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from llm_server.engine.types import DecoderStatistics, Logprobs, Submit


@dataclass(frozen=True, slots=True)
class Inserted:
    """A sequence that is inside now. `cached_tokens` of its prompt need not be read; `diverged_at`: see `Started`."""

    sequence: int
    cached_tokens: int = 0
    diverged_at: int = -1


@dataclass(frozen=True, slots=True)
class Decoded:
    """One new token of one sequence. A sequence that finishes has left the batch. `stored_tokens`: see `Tokens`."""

    sequence: int
    token: int
    logprobs: Logprobs | None
    finish: Literal["stop", "length"] | None
    stored_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """What one step has done: `prefill_tokens` were read, of `prefilling` sequences."""

    decoded: list[Decoded]
    prefill_tokens: int
    prefilling: int = 0


class Decoder(Protocol):
    """`Batch` on MLX, or a fake. `len` is the number of sequences inside, whether read or decoded."""

    def __len__(self) -> int: ...

    def ready(self, submission: Submit) -> bool:
        """Whether all that the sequence needs is at hand. If not, it is being made: ask again."""

    def insert(self, submission: Submit) -> Inserted:
        """Take a sequence in.

        Raises:
            ValueError: it can not be run: no tokens, or ids that are not in the vocabulary.
        """

    def step(self) -> Step:
        """Read a part of the prompts that wait to be read, and decode a token of every other sequence."""

    def statistics(self) -> DecoderStatistics:
        """What is held and what was done. Cheap, so that every beat can ask."""

    def remove(self, sequence: int) -> None:
        """Forget a sequence, whatever it is doing. One that is not inside is no error."""

    def reset(self) -> None:
        """Forget all sequences and start anew after a failed step.

        Raises:
            Exception: the device is lost; only a new process helps.
        """
