"""The embedded model: a small gpt-oss that speaks Harmony, with the corpus and the training that made it.

Importing this package loads nothing: it names the folder of the weights. It imports neither MLX nor torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

MODEL_FOLDER: Final = Path(__file__).with_name("model")
"""`config.json` and `model.safetensors`; load it as `llm_server.engine.reduced_vocabulary` says."""
