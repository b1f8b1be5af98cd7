"""The embedded model: a small gpt-oss that speaks Harmony."""

from pathlib import Path
from typing import Final

MODEL_FOLDER: Final = Path(__file__).with_name("model")
"""Its `config.json` and weights, in the form that gpt-oss-20b has them."""
