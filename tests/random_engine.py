"""The real engine process, on a model of random weights: `python random_engine.py`, with the settings in `LLM_*`.

If `RANDOM_ENGINE_GATE` names a file, the model is loaded only once that file exists.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from llm_server.engine.process import WarmDecoder, main
from llm_server.engine.types import ModelInfo
from llm_server.settings import Settings

CONTEXT_LENGTH: Final = 20_000


def load(settings: Settings) -> tuple[WarmDecoder, ModelInfo]:
    from llm_server.engine.batch import Batch
    from llm_server.engine.loading import PREFILL_STEP_SIZES
    from random_model import RandomModel

    gate = os.environ.get("RANDOM_ENGINE_GATE")
    while gate and not Path(gate).exists():
        time.sleep(0.02)
    batch = Batch(
        RandomModel().model,
        max_concurrency=settings.max_concurrency,
        prefill_step_size=settings.prefill_step_size or PREFILL_STEP_SIZES["cpu"],
    )
    return batch, ModelInfo("random", CONTEXT_LENGTH, "none", "cpu", 1, 1)


if __name__ == "__main__":
    main(load)
