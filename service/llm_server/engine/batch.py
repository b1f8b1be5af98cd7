"""Continuous batching on mlx-lm's `BatchGenerator`: sequences join and leave at any step, plain numbers come out.

The model runs here, on one thread; nothing of MLX leaves this file. Knows no requests, clients, text or clocks.
"""

# mypy: allow-untyped-calls
# (most of mlx_lm has no annotations)

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, cast

import mlx.core as mx
from mlx_lm.generate import BatchGenerator, GenerationBatch, PromptProcessingBatch

from llm_server.conversation import Sampling
from llm_server.engine.decoder import Decoded, Inserted, Step
from llm_server.engine.guard import Grammars, masked
from llm_server.engine.key_values import Caches, Layers
from llm_server.engine.memory import MemoryPlan
from llm_server.engine.prompt_states import PromptStates
from llm_server.engine.sampling import RowSampler, choose, processors, read_report, reports
from llm_server.engine.types import DecoderStatistics, Submit

logger = logging.getLogger(__name__)

_PROMPTS_AT_ONCE: Final = 8
_SMALLEST_CHUNK: Final = 2
"""mlx-lm writes a single token into the sliding window's ring, and its mask for a longer chunk after that is wrong."""

_UNLIMITED: Final = 2**31
_NO_LIMITS: Final = MemoryPlan()


class _Decoding(GenerationBatch):
    """Sequences that are decoded together. `samplers` are `RowSampler`s, `logprobs` of a response is a `Report`."""

    samplers: Any
    logits_processors: Any
    _current_tokens: Any

    def _step(self) -> tuple[list[int], list[Any]]:
        """Start to compute the next tokens, then wait for the current ones, which the device already works on.

        The parent's step normalises all 201,088 logits of all rows and samples row by row, which on a CPU takes longer
        than a small model; this one does for each row only what its request asks for.
        """
        inputs = self._current_tokens = self._next_tokens
        current_reports = self._current_logprobs = self._next_logprobs
        logits = self.model(inputs[:, None], cache=self.prompt_cache)[:, -1, :]
        logits, contexts = self._processed(logits, inputs)
        logits = masked(logits, inputs, [sampler.guard for sampler in self.samplers])
        self._next_tokens = choose(logits, self.samplers)
        self._next_logprobs = reports(logits, self._next_tokens, self.samplers)
        mx.async_eval(self._next_tokens, self._next_logprobs, contexts)
        mx.eval(inputs, current_reports)
        tokens = cast(list[int], inputs.tolist())
        for in_cache, token in zip(self.tokens, tokens, strict=True):
            in_cache.append(token)
        return tokens, current_reports

    def _processed(self, logits: mx.array, inputs: mx.array) -> tuple[mx.array, list[mx.array]]:
        """Logits after every row's own processors, and the token buffers that must be computed along with them."""
        if not any(self.logits_processors):
            return logits, []
        rows: list[mx.array] = []
        contexts: list[mx.array] = []
        for row, chain in enumerate(self.logits_processors):
            processed = logits[row : row + 1]
            if chain:
                contexts.append(self._token_context[row].update_and_fetch(inputs[row : row + 1]))
                processed = processed.astype(mx.float32)
            for process in chain:
                processed = process(contexts[-1], processed)
            rows.append(processed)
        return mx.concatenate(rows, axis=0), contexts


class _Reading(PromptProcessingBatch):
    """Sequences whose prompts are being read, together and in chunks."""

    def generate(self, tokens: list[list[int]]) -> _Decoding:
        """These sequences as a decoding batch, given the last token of each prompt. `self` is used up."""
        return _Decoding(
            self.model,
            self.uids,
            mx.array([last for [last] in tokens]),
            self.prompt_cache,
            self.tokens,
            self.samplers,
            self.fallback_sampler,
            self.logits_processors,
            self.stop_sequences,
            self.max_tokens,
        )


@dataclass(frozen=True, slots=True)
class _Row:
    """One sequence's place in the caches of a batch, and the tokens that they hold of it."""

    caches: Caches
    row: int
    tokens: list[int]


class _Generator(BatchGenerator):
    """mlx-lm's generator with the two batches above, and with a bound on the prompt tokens of one step."""

    def __init__(self, model: Any, *, max_concurrency: int, prefill_step_size: int) -> None:
        super().__init__(
            model,
            completion_batch_size=max_concurrency,
            prefill_batch_size=_PROMPTS_AT_ONCE,
            prefill_step_size=prefill_step_size,
            stream=mx.default_stream(mx.default_device()),
        )
        # The constructor wires as much memory as the device recommends, which makes Macs panic under load; closing
        # restores the limit and does nothing else.
        self.close()
        self._prefill_budget = prefill_step_size
        self._prompt_batch = _Reading.empty(model, self.sampler, prefill_step_size)
        self._generation_batch = _Decoding.empty(model, self.sampler)

    @property
    def kv_tokens(self) -> int:
        """Tokens that the caches have room taken for: all rows of a batch are as long as its longest."""
        batches = (self._prompt_batch, self._generation_batch)
        return sum(len(batch) * max(cache.size() for cache in batch.prompt_cache) for batch in batches if len(batch))

    def reading(self) -> Iterator[tuple[int, _Row]]:
        """The sequences whose prompts are being read, by number."""
        batch = self._prompt_batch
        for row, (sequence, tokens) in enumerate(zip(batch.uids, batch.tokens, strict=True)):
            yield sequence, _Row(batch.prompt_cache, row, tokens)

    def decoding(self, sequence: int) -> _Row:
        batch = self._generation_batch
        row = batch.uids.index(sequence)
        return _Row(batch.prompt_cache, row, batch.tokens[row])

    def next(self) -> tuple[list[Any], list[Any]]:
        """One step. The prompts being read share its budget, so that the others' next token is never late."""
        prompts = min(len(self._prompt_batch) + len(self._unprocessed_sequences), _PROMPTS_AT_ONCE)
        self.prefill_step_size = max(_SMALLEST_CHUNK, self._prefill_budget // max(1, prompts))
        responses: tuple[list[Any], list[Any]] = super().next()
        return responses


@dataclass(slots=True)
class _Sequence:
    """`shared` tokens of the prompt were known when it came, and it is read from `cached` on, to be `kept` or not."""

    submission: Submit
    stop_tokens: frozenset[int]
    cached: int
    shared: int
    kept: bool
    tokens_read: int = 0
    tokens_decoded: int = 0

    @property
    def prompt(self) -> list[int]:
        return self.submission.prompt

    @property
    def position(self) -> int:
        return self.cached + self.tokens_read

    @property
    def stored_tokens(self) -> int:
        """Tokens of the prompt that are known only since it was read. Its last one is read with the answer."""
        return max(0, len(self.prompt) - 1 - self.shared) if self.kept else 0

    def shares_what_comes(self, prompt: list[int], tokens: int) -> bool:
        """Whether up to so many tokens that this sequence is about to read are a part of the other prompt, too."""
        now, soon = self.position, min(self.position + tokens, len(self.prompt) - 1)
        return (
            now < soon < len(prompt) and prompt[now:soon] == self.prompt[now:soon] and prompt[:now] == self.prompt[:now]
        )


class Batch:
    """The decoder on MLX, for a loaded model of mlx-lm.

    `prefill_step_size` bounds the prompt tokens of a step. Without `grammars`, those of submissions are ignored. Within
    the bytes of the `memory` plan, prompts are read only from where they leave those that were read before. Whoever
    inserts sequences keeps to its tokens; when answers get longer than was foreseen, the prefix cache makes room for
    them at first, and when that is used up the sequence that came last ends.
    """

    def __init__(
        self,
        model: Any,
        *,
        max_concurrency: int,
        prefill_step_size: int,
        grammars: Grammars | None = None,
        layers: Layers | None = None,
        memory: MemoryPlan = _NO_LIMITS,
    ) -> None:
        mx.set_cache_limit(memory.buffer_bytes)
        self._model = model
        self._vocabulary: int = model.args.vocab_size
        self._max_concurrency = max_concurrency
        self._prefill_step_size = prefill_step_size
        self._grammars = grammars
        layers = layers or Layers(model)
        self._states = PromptStates(layers, memory.prefix_cache_bytes)
        self._token_bytes = layers.token_bytes.full
        self._available_bytes = memory.available_bytes
        self._kv_tokens = memory.kv_tokens
        self._most_kv_tokens = memory.kv_tokens + memory.prefix_cache_bytes // self._token_bytes
        self._start_anew()

    def __len__(self) -> int:
        return len(self._sequences)

    def ready(self, submission: Submit) -> bool:
        """See `Decoder`. A prompt waits for another one that is being read as long as both are the same."""
        if self._grammars and submission.grammar and not self._grammars.ready(submission.grammar):
            return False
        window = self._states.window
        sequences = self._sequences.values()
        return not any(other.kept and other.shares_what_comes(submission.prompt, window) for other in sequences)

    def insert(self, submission: Submit) -> Inserted:
        self._check(submission)
        match, caches = self._states.match(submission.prompt)
        sequence = self._insert(submission, caches, match.position)
        kept = self._states.is_on
        self._sequences[sequence] = _Sequence(
            submission, frozenset(submission.stop_tokens), match.position, match.shared, kept
        )
        return Inserted(sequence, match.position, match.diverged_at)

    def _insert(self, submission: Submit, caches: Any, position: int) -> int:
        guard = self._grammars.guard(submission.grammar) if self._grammars and submission.grammar else None
        samplers: Any = [RowSampler(submission.sampling, guard)]
        chains: Any = [processors(submission.sampling, submission.prompt)]
        (sequence,) = self._generator.insert(
            [submission.prompt[position:]],
            max_tokens=[_UNLIMITED],
            caches=[caches],
            all_tokens=[submission.prompt[:position]],
            samplers=samplers,
            logits_processors=chains,
        )
        return int(sequence)

    def remove(self, sequence: int) -> None:
        if self._sequences.pop(sequence, None) is not None:
            self._forget([sequence])
            self._make_room()

    def step(self) -> Step:
        read, generated = self._generator.next()
        prefill_tokens = {response.uid: self._read(response) for response in read}
        self._keep_prompts(prefill_tokens)
        decoded = [self._decoded(response) for response in generated]
        self._end_last_if_full(decoded)
        finished = [token.sequence for token in decoded if token.finish]
        self._keep_answers(decoded)
        for sequence in finished:
            del self._sequences[sequence]
        if finished:
            self._forget(finished)
        self._make_room()
        return Step(decoded, sum(prefill_tokens.values()), len(read))

    def statistics(self) -> DecoderStatistics:
        return DecoderStatistics(
            self._generator.kv_tokens,
            self._kv_tokens,
            prefix_cache=self._states.statistics,
            memory_active_bytes=mx.get_active_memory(),
            memory_cache_bytes=mx.get_cache_memory(),
            memory_peak_bytes=mx.get_peak_memory(),
            memory_budget_bytes=self._available_bytes,
            guard_forced_tokens=self._grammars.forced_tokens if self._grammars else 0,
        )

    def reset(self) -> None:
        """See `Decoder`. Proves with a real generation that the device still computes."""
        self._start_anew()
        self.warm_up()

    def warm_up(self) -> None:
        """Read a whole chunk and decode, greedily and by sampling, so that no request waits for a first compilation."""
        for length, temperature in ((self._prefill_step_size + 1, 0.0), (1, 1.0)):
            submission = Submit("", [0] * length, 1, [], Sampling(temperature=temperature))
            self._sequences[self._insert(submission, None, 0)] = _Sequence(submission, frozenset(), 0, 0, kept=False)
            while len(self):
                self.step()

    def _start_anew(self) -> None:
        self._states.clear()
        self._sequences: dict[int, _Sequence] = {}
        self._generator = _Generator(
            self._model, max_concurrency=self._max_concurrency, prefill_step_size=self._prefill_step_size
        )

    def _check(self, submission: Submit) -> None:
        """MLX does not check indices: an id outside the vocabulary would read or write memory at random."""
        if not submission.prompt or submission.max_tokens < 1:
            raise ValueError("A request needs a prompt and room for at least one token.")
        if not self._in_vocabulary(submission.prompt):
            raise ValueError("The prompt has a token id that is not in the model's vocabulary.")
        if submission.sampling.logit_bias and not self._in_vocabulary(list(submission.sampling.logit_bias)):
            raise ValueError("logit_bias has a token id that is not in the model's vocabulary.")

    def _in_vocabulary(self, tokens: Sequence[int]) -> bool:
        return min(tokens) >= 0 and max(tokens) < self._vocabulary

    def _read(self, response: Any) -> int:
        """Prompt tokens of one sequence that this step has read."""
        sequence = self._sequences[response.uid]
        before, sequence.tokens_read = sequence.tokens_read, response.progress[0]
        return sequence.tokens_read - before

    def _decoded(self, response: Any) -> Decoded:
        sequence = self._sequences[response.uid]
        sequence.tokens_decoded += 1
        logprobs = None if response.logprobs is None else read_report(response.logprobs)
        finish: Literal["stop", "length"] | None = None
        if response.token in sequence.stop_tokens:
            finish = "stop"
        elif sequence.tokens_decoded >= sequence.submission.max_tokens:
            finish = "length"
        stored = sequence.stored_tokens if sequence.tokens_decoded == 1 else 0
        return Decoded(response.uid, response.token, logprobs, finish, stored)

    def _keep_prompts(self, read: dict[int, int]) -> None:
        """Keep what this step has read of each prompt, so that a prompt that is given up is not lost."""
        for number, row in self._generator.reading():
            sequence = self._sequences[number]
            if sequence.kept and number in read:
                sequence.kept = self._states.keep(
                    row.caches,
                    row.row,
                    row.tokens,
                    since=len(row.tokens) - read[number],
                    asked=len(sequence.prompt),
                    complete=len(row.tokens) == len(sequence.prompt) - 1,
                    parted=sequence.shared,
                )
        self._states.settle()

    def _make_room(self) -> None:
        """Let those who run have of the prefix cache's memory what they hold too much, and no more than that."""
        self._states.lend(max(0, self._generator.kv_tokens - self._kv_tokens) * self._token_bytes)

    def _end_last_if_full(self, decoded: list[Decoded]) -> None:
        if self._generator.kv_tokens > self._most_kv_tokens and len(decoded) > 1 and decoded[-1].finish is None:
            logger.warning("answers have outgrown the memory: of %d, the last one to come was ended", len(decoded))
            decoded[-1] = replace(decoded[-1], finish="length")

    def _keep_answers(self, decoded: list[Decoded]) -> None:
        for token in decoded:
            sequence = self._sequences[token.sequence]
            if sequence.kept and token.finish and token.token in sequence.submission.resumed_tokens:
                row = self._generator.decoding(token.sequence)
                since = len(sequence.prompt) - 1
                self._states.keep(
                    row.caches, row.row, row.tokens, since=since, asked=len(sequence.prompt), complete=True
                )
        self._states.settle()

    def _forget(self, sequences: list[int]) -> None:
        self._generator.remove(sequences)
        if not self._sequences:
            mx.clear_cache()
