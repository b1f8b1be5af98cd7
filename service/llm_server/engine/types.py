"""The messages between API workers and the engine process. Ints, floats and enums; encoded with msgpack.

A request's life on the socket: `Submit` → `Admitted` or `Refused` → `Started` → `Tokens`* → `Finished`; one that can
not be run finishes without having started. `Abort` may come at any time and is answered by nothing. `Hello` is
answered by `Status`, which the engine also sends whenever its state changes and at least once a second, so silence
means that it is stuck or gone. A frame holds a list of messages.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from llm_server.conversation import GenerationDefaults, Sampling

EngineState: TypeAlias = Literal["loading", "ready", "draining"]
EngineFinishReason: TypeAlias = Literal["stop", "length", "error"]
Phase: TypeAlias = Literal["queue", "prefill", "decode"]
RefusalReason: TypeAlias = Literal["queue_full", "not_ready", "context_too_long"]


class ModelInfo(msgspec.Struct, frozen=True):
    """The model that is loaded. `context_length` in tokens, prompt and answer together; `parameters` counted.

    `defaults` are those of its `generation_config.json`.
    """

    name: str
    context_length: int
    quantization: str
    device: str
    parameters: int
    memory_bytes: int
    defaults: GenerationDefaults = GenerationDefaults()


class Hello(msgspec.Struct, frozen=True, tag=True):
    """A client announces itself, after each connect. From then on it is sent `Status`, until it disconnects."""


class Submit(msgspec.Struct, frozen=True, tag=True):
    """Run this prompt. `max_tokens` >= 1; the engine stops after any of `stop_tokens`, which is reported as a token.

    `grammar` (Lark, as llguidance reads it) bounds what may be decoded; empty for no bounds. An answer that ends with
    one of `resumed_tokens` is expected to come back, token for token, at the beginning of a later prompt.
    """

    request_id: str
    prompt: list[int]
    max_tokens: int
    stop_tokens: list[int]
    sampling: Sampling
    grammar: str = ""
    resumed_tokens: list[int] = []


class Abort(msgspec.Struct, frozen=True, tag=True):
    """Nobody wants this request any more: free its slot in the queue, in prefill or in decode.

    `given_up` is this machine's monotonic clock at that moment, which all of its processes share.
    """

    request_id: str
    given_up: float | None = None


ToEngine: TypeAlias = Hello | Submit | Abort


class Status(msgspec.Struct, frozen=True, tag=True):
    """`incarnation` is new for each engine process: requests of an earlier one are lost.

    `model` is None until it is loaded; `state` is "ready" once a real one-token generation has succeeded.
    """

    incarnation: str
    state: EngineState
    model: ModelInfo | None
    running: int
    waiting: int


class Admitted(msgspec.Struct, frozen=True, tag=True):
    request_id: str


class Refused(msgspec.Struct, frozen=True, tag=True):
    """`retry_after` in seconds, an honest estimate from the queue."""

    request_id: str
    reason: RefusalReason
    retry_after: float | None = None


class Started(msgspec.Struct, frozen=True, tag=True):
    """The request has left the queue: its prompt is read from `cached_tokens` on, what is before was known already.

    `diverged_at` is the index of the first token in which the prompt differs from the known prompt that it has most in
    common with; -1 if no token differs, because none is known or one of the two begins with the other.
    """

    request_id: str
    queue_seconds: float
    cached_tokens: int
    diverged_at: int


class Logprobs(msgspec.Struct, frozen=True, array_like=True):
    """Natural logs for one token, before temperature and truncation: the chosen one's, the likeliest ones' by id."""

    chosen: float
    top: list[tuple[int, float]]


class Tokens(msgspec.Struct, frozen=True, tag=True):
    """Newly decoded tokens, in order; `logprobs` has as many entries when they were asked for, else none.

    `stored_tokens` of the prompt are known from now on and were not before. Told with the first token.
    """

    request_id: str
    tokens: list[int]
    logprobs: list[Logprobs]
    stored_tokens: int = 0


class Finished(msgspec.Struct, frozen=True, tag=True):
    """The request has left the engine. Seconds are wall time; `cached_tokens` of the prompt were not computed again."""

    request_id: str
    reason: EngineFinishReason
    cached_tokens: int
    queue_seconds: float
    prefill_seconds: float
    decode_seconds: float
    message: str = ""


FromEngine: TypeAlias = Status | Admitted | Refused | Started | Tokens | Finished


class StepStats(msgspec.Struct, frozen=True):
    """What one step of the engine did, in wall seconds.

    `batch_size` counts the sequences inside while it ran, of which `prefilling` still had prompt tokens to be read.
    """

    batch_size: int
    prefill_tokens: int
    decoded_tokens: int
    seconds: float
    prefilling: int = 0


class PrefixCacheStatistics(msgspec.Struct, frozen=True):
    """What the prefix cache holds now, and what it has done since the engine started (tokens, evictions by reason).

    `queries_tokens` counts the tokens of all prompts that were looked up, `hits_tokens` those that it spared.
    """

    bytes: int = 0
    entries: int = 0
    queries_tokens: int = 0
    hits_tokens: int = 0
    evictions: dict[str, int] = {}


class DecoderStatistics(msgspec.Struct, frozen=True):
    """What the decoder holds now, memory in bytes as MLX counts it.

    `kv_tokens` of `kv_tokens_capacity` are held by the requests that run, padding included; the prefix cache's own
    are not among them. `memory_budget_bytes` is what the device has for all of it. `guard_forced_tokens` were decided
    by a grammar alone, since the engine started.
    """

    kv_tokens: int = 0
    kv_tokens_capacity: int = 0
    prefix_cache: PrefixCacheStatistics = PrefixCacheStatistics()
    memory_active_bytes: int = 0
    memory_cache_bytes: int = 0
    memory_peak_bytes: int = 0
    memory_budget_bytes: int = 0
    guard_forced_tokens: int = 0


class EngineStatistics(msgspec.Struct, frozen=True):
    """The engine's state at one beat."""

    running: int
    waiting: int
    decoder: DecoderStatistics = DecoderStatistics()
