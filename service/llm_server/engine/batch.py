"""Continuous batching on mlx-lm's `BatchGenerator`: sequences join and leave at any step, plain numbers come out.

The model runs here, on one thread; nothing of MLX leaves this file. Knows no requests, clients, text or clocks.
"""

# mypy: allow-untyped-calls
# (most of mlx_lm has no annotations)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import mlx.core as mx
from mlx_lm.generate import BatchGenerator, GenerationBatch, PromptProcessingBatch

from llm_server.conversation import Sampling
from llm_server.engine.decoder import Decoded, Inserted, Step
from llm_server.engine.guard import Grammars, masked
from llm_server.engine.sampling import RowSampler, choose, processors, read_report, reports
from llm_server.engine.types import DecoderStatistics, Submit

_PROMPTS_AT_ONCE: Final = 8
_UNLIMITED: Final = 2**31
_BUFFER_CACHE_BYTES: Final = 2 * 1024**3
"""MLX keeps freed buffers for reuse, by default as many as memory holds; prompts of ever new lengths would fill it."""


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

    def next(self) -> tuple[list[Any], list[Any]]:
        """One step. The prompts being read share its budget, so that the others' next token is never late."""
        prompts = min(len(self._prompt_batch) + len(self._unprocessed_sequences), _PROMPTS_AT_ONCE)
        self.prefill_step_size = max(1, self._prefill_budget // max(1, prompts))
        responses: tuple[list[Any], list[Any]] = super().next()
        return responses


@dataclass(slots=True)
class _Sequence:
    max_tokens: int
    stop_tokens: frozenset[int]
    tokens_read: int = 0
    tokens_decoded: int = 0


class Batch:
    """The decoder on MLX, for a loaded model of mlx-lm.

    `prefill_step_size` bounds the prompt tokens of a step. Without `grammars`, those of submissions are ignored.
    """

    def __init__(
        self, model: Any, *, max_concurrency: int, prefill_step_size: int, grammars: Grammars | None = None
    ) -> None:
        mx.set_cache_limit(_BUFFER_CACHE_BYTES)
        self._model = model
        self._vocabulary: int = model.args.vocab_size
        self._max_concurrency = max_concurrency
        self._prefill_step_size = prefill_step_size
        self._grammars = grammars
        self._start_anew()

    def __len__(self) -> int:
        return len(self._sequences)

    def ready(self, submission: Submit) -> bool:
        return not (self._grammars and submission.grammar) or self._grammars.prepare(submission.grammar).done()

    def insert(self, submission: Submit) -> Inserted:
        """See `Decoder`. A prefix cache would pass `caches` and `all_tokens` here."""
        self._check(submission)
        guard = self._grammars.guard(submission.grammar) if self._grammars and submission.grammar else None
        samplers: Any = [RowSampler(submission.sampling, guard)]
        chains: Any = [processors(submission.sampling, submission.prompt)]
        (sequence,) = self._generator.insert(
            [submission.prompt], max_tokens=[_UNLIMITED], samplers=samplers, logits_processors=chains
        )
        self._sequences[sequence] = _Sequence(submission.max_tokens, frozenset(submission.stop_tokens))
        return Inserted(int(sequence))

    def remove(self, sequence: int) -> None:
        if self._sequences.pop(sequence, None) is not None:
            self._forget([sequence])

    def step(self) -> Step:
        read, generated = self._generator.next()
        prefill_tokens = sum(self._read(response) for response in read)
        decoded = [self._decoded(response) for response in generated]
        finished = [token.sequence for token in decoded if token.finish]
        for sequence in finished:
            del self._sequences[sequence]
        if finished:
            self._forget(finished)
        return Step(decoded, prefill_tokens, len(read))

    def statistics(self) -> DecoderStatistics:
        return DecoderStatistics(
            memory_active_bytes=mx.get_active_memory(),
            memory_cache_bytes=mx.get_cache_memory(),
            memory_peak_bytes=mx.get_peak_memory(),
        )

    def reset(self) -> None:
        """See `Decoder`. Proves with a real generation that the device still computes."""
        self._start_anew()
        self.warm_up()

    def warm_up(self) -> None:
        """Read a whole chunk and decode, greedily and by sampling, so that no request waits for a first compilation."""
        for length, temperature in ((self._prefill_step_size + 1, 0.0), (1, 1.0)):
            self.insert(Submit("", [0] * length, 1, [], Sampling(temperature=temperature)))
            while len(self):
                self.step()

    def _start_anew(self) -> None:
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
        if response.token in sequence.stop_tokens:
            return Decoded(response.uid, response.token, logprobs, "stop")
        if sequence.tokens_decoded >= sequence.max_tokens:
            return Decoded(response.uid, response.token, logprobs, "length")
        return Decoded(response.uid, response.token, logprobs, None)

    def _forget(self, sequences: list[int]) -> None:
        self._generator.remove(sequences)
        if not self._sequences:
            mx.clear_cache()
