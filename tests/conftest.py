"""What holds for every test. Applications, engines and clients are made by functions in `clients` and `fakes`."""

from __future__ import annotations

import os

from hypothesis import settings

from llm_server.settings import OTHER_PROGRAMS, PREFIX

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_configure() -> None:
    """A key or a port that is set in the shell which runs the tests does not decide them."""
    for name in [name for name in os.environ if name.startswith(PREFIX) and name not in OTHER_PROGRAMS]:
        del os.environ[name]
