"""What the engine's loop says of itself, on its way to the owner of the metrics. Runs on the loop's own thread."""

from __future__ import annotations

import os
import time
from typing import Final

from llm_server.engine.types import EngineStatistics, Phase, StepStats
from llm_server.observability import machine
from llm_server.observability.records import EngineBeat, EngineCancelled, EngineSteps
from llm_server.observability.sender import Sink

_STEPS_AT_ONCE: Final = 64
"""A step of a small model takes a millisecond, so they are not sent one by one. A beat sends what there is."""


class EngineReports:
    """An `Observer` of the engine's loop."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._steps: list[StepStats] = []
        self._last_step = 0.0

    def step(self, stats: StepStats) -> None:
        self._steps.append(stats)
        self._last_step = time.time()
        if len(self._steps) == _STEPS_AT_ONCE:
            self._send_steps()

    def beat(self, statistics: EngineStatistics) -> None:
        self._send_steps()
        self._sink(EngineBeat(statistics, self._last_step, machine.physical_footprint(os.getpid()) or 0))

    def cancelled(self, phase: Phase, seconds: float | None) -> None:
        if seconds is not None:
            self._sink(EngineCancelled(phase, seconds))

    def _send_steps(self) -> None:
        if self._steps:
            self._sink(EngineSteps(self._steps))
            self._steps = []
