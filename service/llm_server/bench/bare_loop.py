"""The yardstick: mlx-lm's BatchGenerator driven by nothing but a loop, in a process of its own.

Reads lines of JSON, `{"prompts": [[…]], "max_tokens": n}`, and answers each with one, `[[tokens, seconds], …]`.
The model is loaded as the engine loads it, so that a server's ratio to this loop is the server's doing alone.
"""

# mypy: allow-untyped-calls
# (most of mlx_lm has no annotations)

from __future__ import annotations

import json
import sys
import time
from typing import Any

from llm_server.engine.blas import use_openblas
from llm_server.harmony.encoding import STOP_TOKENS
from llm_server.model_files import ModelError
from llm_server.settings import exit_on_error, load_settings


def main() -> None:
    use_openblas()  # before MLX is imported
    from llm_server.engine.found import find_model
    from llm_server.engine.loading import load

    settings = load_settings(model_path=sys.argv[1])
    try:
        model = load(find_model(settings), settings.quantization).model
    except ModelError as error:
        exit_on_error(error)
    print("ready", flush=True)  # noqa: T201
    for line in sys.stdin:
        task = json.loads(line)
        print(json.dumps(_answer(model, task["prompts"], task["max_tokens"])), flush=True)  # noqa: T201


def _answer(model: Any, prompts: list[list[int]], max_tokens: int) -> list[tuple[int, float]]:
    import mlx.core as mx
    from mlx_lm.generate import BatchGenerator

    generator = BatchGenerator(
        model,
        max_tokens=max_tokens,
        stop_tokens=[[token] for token in STOP_TOKENS],
        completion_batch_size=len(prompts),
        stream=mx.default_stream(mx.default_device()),
    )
    started = time.perf_counter()
    tokens = dict.fromkeys(generator.insert(prompts), 0)
    seconds: dict[int, float] = {}
    while len(seconds) < len(tokens):
        for response in generator.next()[1]:
            tokens[response.uid] += 1
            if response.finish_reason is not None:
                seconds[response.uid] = time.perf_counter() - started
    generator.close()
    return [(tokens[uid], seconds[uid]) for uid in tokens]


if __name__ == "__main__":
    main()
