"""One engine process, kept running: started, watched, started again when it ends or is stuck, and stopped at the end.

`running_engine` is the one way to run an engine, of the supervisor and, where there is none (`uvicorn
llm_server.server:app --reload`), of the application's lifespan. Of an engine it hears the heartbeat, and whether it
generates; it knows no request. Imports neither MLX nor FastAPI.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from pydantic import SecretStr

from llm_server.addresses import engine_socket
from llm_server.awake import Awake
from llm_server.canary import Canary
from llm_server.child_process import Child, describe_exit
from llm_server.engine.types import Status
from llm_server.heartbeat import Heartbeat
from llm_server.observability.engine_metrics import EndReason, EngineMetrics
from llm_server.settings import PREFIX, SETTLED, Settings

ENGINE_COMMAND = (sys.executable, "-P", "-m", "llm_server.engine.process")
MODEL_NOT_LOADABLE = os.EX_CONFIG
"""The engine's exit code for a model that no restart will load. It has said why on stderr, in one line."""

_STOP_SECONDS = 2.0
_STACK_DUMP_SECONDS = 1.0

logger = logging.getLogger(__name__)


@dataclass
class Backoff:
    """When to start a program again: 1, 2, 4 … 30 seconds after it ended, and at most 5 times in 10 minutes."""

    first: float = 1.0
    longest: float = 30.0
    limit: int = 5
    window: float = 600.0
    _restarts: list[float] = field(default_factory=list, init=False)

    def exhausted(self, now: float) -> bool:
        """Whether the next restart has to wait until an earlier one is forgotten."""
        self._restarts = [restart for restart in self._restarts if now - restart < self.window]
        return len(self._restarts) >= self.limit

    def next_delay(self, now: float) -> float:
        """Seconds from `now`, when the program ended, to its restart, which is taken as done."""
        if self.exhausted(now):
            delay = self._restarts[-self.limit] + self.window - now
        else:
            delay = min(self.longest, self.first * 2 ** len(self._restarts))
        self._restarts.append(now + delay)
        return delay


def _log_ready(status: Status) -> None:
    logger.info("the engine is ready with model %s", status.model.name if status.model else "?")


def _end_this_process(_code: int) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@asynccontextmanager
async def running_engine(
    settings: Settings,
    *,
    on_ready: Callable[[Status], None] = _log_ready,
    on_failure: Callable[[int], None] = _end_this_process,
    command: Sequence[str] = ENGINE_COMMAND,
    backoff: Backoff | None = None,
    heartbeat: Heartbeat | None = None,
    metrics: EngineMetrics | None = None,
    metrics_address: str | None = None,
) -> AsyncIterator[str]:
    """Run an engine, start it again whenever it ends, and stop it when the context is left. Yields its address at once.

    `on_ready` is called after each start, when the model answers; `on_failure` with an exit code when no restart
    can help, which by default ends this process with SIGTERM. What is seen of the engine is counted in `metrics`; what
    it says of itself goes to `metrics_address`.

    Raises:
        SettingsError: there is no place for the engine's socket.
    """
    with engine_socket(settings.state_dir) as address:
        engine = _Engine(
            tuple(command),
            child_variables(settings, address, metrics_address),
            address,
            heartbeat or Heartbeat(),
            Canary(settings.canary_interval),
            on_ready,
            metrics or EngineMetrics("unknown"),
            Awake(),
        )
        keeper = asyncio.create_task(_keep_engine(engine, backoff or Backoff(), on_failure))
        keeper.add_done_callback(partial(end_on_error, on_failure))
        try:
            yield address
        finally:
            keeper.cancel()
            await asyncio.wait({keeper})


@dataclass(frozen=True)
class _Engine:
    command: Sequence[str]
    environment: Mapping[str, str]
    address: str
    heartbeat: Heartbeat
    canary: Canary
    on_ready: Callable[[Status], None]
    metrics: EngineMetrics
    awake: Awake

    async def run(self) -> int:
        """One engine process from start to end, whoever ends it. Returns its exit code; cancelled, it stops it."""
        process = await Child.start(self.command, self.environment)
        ended = asyncio.create_task(process.wait())
        stuck = asyncio.create_task(self.heartbeat.watch(self.address, self.on_ready, self._hear))
        mute = asyncio.create_task(self.canary.watch(self.address, self.metrics.canary))
        try:
            await asyncio.wait({ended, stuck, mute}, return_when=asyncio.FIRST_COMPLETED)
            reason: EndReason | None = None
            if not ended.done():
                reason = "watchdog" if stuck.done() else "canary"
                (stuck if stuck.done() else mute).result()
                await self._kill_stuck(process, reason)
            code = await ended
            self.metrics.ended(reason or end_reason(code))
            return code
        finally:
            stuck.cancel()
            mute.cancel()
            await asyncio.wait({stuck, mute})
            self.awake.release()
            await process.stop(_STOP_SECONDS)

    def _hear(self, status: Status) -> None:
        self.metrics.hear(status)
        self.awake.hear(status)

    async def _kill_stuck(self, process: Child, reason: EndReason) -> None:
        """SIGABRT makes Python's fault handler print where each thread hangs, without any values. SIGKILL follows."""
        silence = f"has not been heard of for {self.heartbeat.tick * self.heartbeat.limit:g} s"
        failing = f"has generated no token in {self.canary.limit} attempts"
        logger.error("the engine %s: it is killed", silence if reason == "watchdog" else failing)
        process.send_signal(signal.SIGABRT)
        await asyncio.sleep(_STACK_DUMP_SECONDS)
        process.kill()


def end_reason(code: int) -> EndReason:
    """SIGABRT is how Metal ends a process whose work on the GPU failed, SIGKILL how a system does that lacks memory."""
    match -code:
        case signal.SIGABRT:
            return "abort"
        case signal.SIGKILL:
            return "killed"
    return "crash"


async def _keep_engine(engine: _Engine, backoff: Backoff, on_failure: Callable[[int], None]) -> None:
    while (code := await engine.run()) != MODEL_NOT_LOADABLE:
        delay = announce_restart("engine", code, backoff)
        await asyncio.sleep(delay)
    on_failure(code)


def announce_restart(name: str, code: int, backoff: Backoff) -> float:
    """Log that a program has ended. Returns the seconds until it is to be started again."""
    delay = backoff.next_delay(time.monotonic())
    logger.error("the %s has ended (%s); it is started again in %.0f s", name, describe_exit(code), delay)
    return delay


def end_on_error(on_failure: Callable[[int], None], task: asyncio.Task[None]) -> None:
    """Whoever keeps a process must not fail in silence: nobody would start that process again."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.critical("a process can not be kept running", exc_info=error)
        on_failure(1)


def child_variables(settings: Settings, engine_address: str, metrics_address: str | None) -> dict[str, str]:
    """This process's environment, with all settings as they are here: read again, they could be others by now."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    given = {PREFIX + name.upper(): _text(getattr(settings, name)) for name in Settings.model_fields}
    addresses = {PREFIX + "ENGINE_ADDRESS": engine_address, PREFIX + "METRICS_ADDRESS": metrics_address or ""}
    return {**others, **given, SETTLED: "1", "PYTHONFAULTHANDLER": "1", **addresses}


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case tuple():
            return ",".join(value)
        case SecretStr():
            return value.get_secret_value()
        case _:
            return str(value)
