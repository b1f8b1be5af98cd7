"""What holds for every test. Applications, engines and clients are made by functions in `clients` and `fakes`."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

from llm_server.settings import OTHER_PROGRAMS, PREFIX

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_configure() -> None:
    """Nothing that is set in the shell which runs the tests decides them: no key, no port, no ignored signal."""
    for name in [name for name in os.environ if name.startswith(PREFIX) and name not in OTHER_PROGRAMS]:
        del os.environ[name]
    # A shell that runs the tests in the background has them ignore it, and so would every process that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
