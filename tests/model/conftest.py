"""A gpt-oss of random weights, small enough to run in any test and sensitive to everything it has read."""

from __future__ import annotations

import pytest

from llm_server.engine.blas import use_openblas

use_openblas()  # before the first import of MLX, as in the engine's process

from random_model import RandomModel  # noqa: E402


@pytest.fixture(scope="session")
def random_model() -> RandomModel:
    return RandomModel()
