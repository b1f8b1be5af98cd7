"""A gpt-oss of random weights, small enough to run in any test and sensitive to everything it has read."""

from __future__ import annotations

import pytest

from random_model import RandomModel


@pytest.fixture(scope="session")
def random_model() -> RandomModel:
    return RandomModel()
