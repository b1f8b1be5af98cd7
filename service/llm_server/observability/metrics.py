"""All metrics of the server, in the one process that owns them: records in, text out.

Called from one thread. Knows no sockets and no requests; what each number means stands with its family, in
`request_metrics`, `http_metrics` and `engine_metrics`.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator
from itertools import chain

from llm_server.observability import machine
from llm_server.observability.engine_metrics import EngineMetrics
from llm_server.observability.http_metrics import HttpMetrics
from llm_server.observability.instruments import Counter, Gauge, Instrument, exposition
from llm_server.observability.records import (
    Dropped,
    EngineBeat,
    EngineCancelled,
    EngineSteps,
    GenerationDone,
    GenerationRefused,
    HttpDone,
    Introduction,
    ProcessName,
    Progress,
    Record,
    WorkerBeat,
)
from llm_server.observability.request_metrics import RequestMetrics


class Metrics:
    """Every instrument. `model` is the name that is served; `role` says which process this is."""

    def __init__(self, model: str, role: ProcessName) -> None:
        self.requests = RequestMetrics(model)
        self.http = HttpMetrics(model)
        self.engine = EngineMetrics(model)
        self._machine = _MachineMetrics(role)
        self._processes: dict[Hashable, ProcessName] = {}
        self._dropped = Counter(
            "llm_server_telemetry_dropped",
            "Records that were lost because the owner of the metrics was away or slow.",
            {"process": ("api", "engine")},
        )

    def take(self, source: Hashable, record: Record) -> None:
        match record:
            case Introduction(process, routes):
                self._processes[source] = process
                self.http.expect(routes)
            case Dropped(records):
                self._dropped.add(self._processes.get(source, "api"), by=records)
            case EngineSteps() | EngineBeat() | EngineCancelled():
                self._take_engines(source, record)
            case _:
                self._take_workers(source, record)

    def _take_engines(self, source: Hashable, record: EngineSteps | EngineBeat | EngineCancelled) -> None:
        match record:
            case EngineSteps(steps):
                self.engine.stepped(steps)
            case EngineBeat():
                self.engine.beat(source, record)
            case EngineCancelled():
                self.engine.cancelled(record)

    def _take_workers(
        self, source: Hashable, record: Progress | GenerationDone | GenerationRefused | HttpDone | WorkerBeat
    ) -> None:
        match record:
            case Progress():
                self.requests.progress(record)
            case GenerationDone():
                self.requests.done(record)
            case GenerationRefused():
                self.requests.refused(record)
            case HttpDone():
                self.http.done(record)
                if record.write_timeout:
                    self.requests.timeouts.add("write")
            case WorkerBeat():
                self.http.beat(source, record)

    def forget(self, source: Hashable) -> None:
        """The process that this source was has ended: what it was is no longer true, what it did is."""
        self._processes.pop(source, None)
        self.http.forget(source)
        self.engine.forget(source)

    def exposition(self, content_type: str) -> bytes:
        return exposition(self._instruments(), content_type)

    def _instruments(self) -> Iterator[Instrument]:
        yield from chain(self.requests.instruments(), self.http.instruments(), self.engine.instruments())
        yield from self._machine.instruments(api=self.http.footprint, engine=self.engine.footprint)
        yield self._dropped


class _MachineMetrics:
    """Asked for when somebody looks."""

    def __init__(self, role: ProcessName) -> None:
        self._role = role
        self._wakes = machine.Wakes()
        self._footprint = Gauge(
            "llm_server_process_phys_footprint_bytes", "Memory that processes answer for.", {"process": ()}
        )
        self._memory = Gauge("llm_server_machine_memory_bytes", "Memory that all processes of this machine share.")
        self._memory.set(to=machine.memory_size())
        self._pressure = Gauge("llm_server_memory_pressure_level", "1 normal, 2 warning, 4 critical (macOS).")
        self._thermal = Gauge("llm_server_thermal_state", "Thermal pressure from 0, nominal, to 4 (macOS).")
        self._woken = Counter("llm_server_system_wakes", "How often the machine has slept.")

    def instruments(self, *, api: int | None, engine: int | None) -> Iterator[Instrument]:
        sizes = {"api": api, "engine": engine, self._role: machine.physical_footprint(os.getpid())}
        self._footprint.clear()
        for process, size in sizes.items():
            if size is not None:
                self._footprint.set(process, to=size)
        for gauge, level in ((self._pressure, machine.memory_pressure()), (self._thermal, machine.thermal_pressure())):
            if level is not None:
                gauge.set(to=level)
        self._woken.add(by=self._wakes.new())
        return iter((self._footprint, self._memory, self._pressure, self._thermal, self._woken))
