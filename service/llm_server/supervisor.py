"""Keeps the server running: one engine process, gunicorn with its API workers, and an orderly end of both.

Imports neither MLX nor FastAPI, so it has nothing to die of. Keeps the metrics of all processes, and outlives them.
Knows no request: of the engine it hears the heartbeat, and whether it generates. `running_engine` is the one way to
run an engine; the application's lifespan uses it, too, when there is no supervisor (`uvicorn llm_server.server:app
--reload`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from functools import partial

from pydantic import SecretStr

from llm_server import __version__
from llm_server.addresses import engine_socket, listen, metrics_socket
from llm_server.awake import Awake
from llm_server.canary import Canary
from llm_server.child_process import Child, describe_exit, kill_children
from llm_server.engine.types import Status
from llm_server.heartbeat import Heartbeat
from llm_server.model_source import served_name
from llm_server.observability.engine_metrics import EndReason, EngineMetrics
from llm_server.observability.logging import configure_logging
from llm_server.observability.metrics import Metrics
from llm_server.observability.owner import owned_metrics
from llm_server.seal_key import read_seal_key
from llm_server.settings import PREFIX, Settings, traces_protocol

ENGINE_COMMAND = (sys.executable, "-P", "-m", "llm_server.engine.process")
API_COMMAND = (
    *(sys.executable, "-P", "-m", "gunicorn"),
    *("--config", "python:llm_server.gunicorn_config"),
    "llm_server.server:app",
)
MODEL_NOT_LOADABLE = os.EX_CONFIG
"""The engine's exit code for a model that no restart will load. It has said why on stderr, in one line."""

_API_RESTARTS = 3
"""gunicorn replaces workers itself. If it ends again and again, there is nobody who could answer requests with 503."""

_ENGINE_STOP_SECONDS = 2.0
_API_STOP_SECONDS = 5.0
_STACK_DUMP_SECONDS = 1.0
SAME_SIGNAL_SECONDS = 0.5

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
            _variables(settings, address, metrics_address),
            address,
            heartbeat or Heartbeat(),
            Canary(settings.canary_interval),
            on_ready,
            metrics or EngineMetrics("unknown"),
            Awake(),
        )
        keeper = asyncio.create_task(_keep_engine(engine, backoff or Backoff(), on_failure))
        keeper.add_done_callback(partial(_end_on_error, on_failure))
        try:
            yield address
        finally:
            keeper.cancel()
            await asyncio.wait({keeper})


@asynccontextmanager
async def owned(settings: Settings, metrics: Metrics) -> AsyncIterator[str]:
    """Let the server's processes fill these metrics, and ask for them. Yields the address for both.

    Raises:
        SettingsError: there is no place for the socket.
    """
    with metrics_socket(settings.state_dir) as address:
        async with owned_metrics(address, metrics):
            yield address


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
            await process.stop(_ENGINE_STOP_SECONDS)

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
        delay = _announce_restart("engine", code, backoff)
        await asyncio.sleep(delay)
    on_failure(code)


def _announce_restart(name: str, code: int, backoff: Backoff) -> float:
    delay = backoff.next_delay(time.monotonic())
    logger.error("the %s has ended (%s); it is started again in %.0f s", name, describe_exit(code), delay)
    return delay


def _end_on_error(on_failure: Callable[[int], None], task: asyncio.Task[None]) -> None:
    """Whoever keeps a process must not fail in silence: nobody would start that process again."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.critical("a process can not be kept running", exc_info=error)
        on_failure(1)


def _variables(settings: Settings, engine_address: str, metrics_address: str | None) -> dict[str, str]:
    """This process's environment, with the settings as they are here rather than as they were read."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    given = {PREFIX + name.upper(): _text(getattr(settings, name)) for name in settings.model_fields_set}
    addresses = {PREFIX + "ENGINE_ADDRESS": engine_address, PREFIX + "METRICS_ADDRESS": metrics_address or ""}
    return {**others, **given, "PYTHONFAULTHANDLER": "1", **addresses}


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


class Supervisor:
    """The engine, gunicorn and the signals. One per process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._api: Child | None = None
        self._ending = asyncio.Event()
        self._ended_at = 0.0
        self._exit_code = 0

    async def run(self) -> int:
        """Serve until a signal or a failure. Returns the exit code: 0 after an orderly end.

        Raises:
            SettingsError: the address is taken, or there is no place for the engine's socket.
        """
        with ExitStack() as open_listeners:
            listeners = [
                open_listeners.enter_context(closing(each)) for each in listen(self._settings.host, self._settings.port)
            ]
            self._handle_signals()
            metrics = Metrics(served_name(self._settings), "supervisor")
            async with owned(self._settings, metrics) as metrics_address:
                await self._serve(
                    open_listeners, [listener.fileno() for listener in listeners], metrics, metrics_address
                )
        return self._exit_code

    async def _serve(
        self, open_listeners: ExitStack, listeners: Sequence[int], metrics: Metrics, metrics_address: str
    ) -> None:
        async with running_engine(
            self._settings,
            on_ready=self._announce,
            on_failure=self._end,
            metrics=metrics.engine,
            metrics_address=metrics_address,
        ) as address:
            variables = _variables(self._settings, address, metrics_address)
            api = asyncio.create_task(self._keep_api(variables, listeners))
            api.add_done_callback(partial(_end_on_error, self._end))
            await self._ending.wait()
            open_listeners.close()
            await self._drain(api)
        # Without the engine, streams that have outlived their grace end with an error that their client can read.
        await asyncio.wait({api}, timeout=_API_STOP_SECONDS)
        kill_children()
        await asyncio.wait({api})

    async def _keep_api(self, variables: Mapping[str, str], listeners: Sequence[int]) -> None:
        binds = [word for number in listeners for word in ("--bind", f"fd://{number}")]
        backoff = Backoff(limit=_API_RESTARTS)
        while not self._ending.is_set():
            self._api = await Child.start([*API_COMMAND, *binds], variables, listeners)
            if self._ending.is_set():
                self._api.send_signal(signal.SIGTERM)
            code = await self._api.wait()
            if self._ending.is_set():
                return
            if backoff.exhausted(time.monotonic()):
                logger.critical("the API workers have ended %d times in %.0f s", backoff.limit + 1, backoff.window)
                return self._end(1)
            delay = _announce_restart("API", code, backoff)
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._ending.wait()

    async def _drain(self, api: asyncio.Task[None]) -> None:
        """gunicorn refuses connections from now on, and ends with its last stream."""
        if self._api is not None:
            self._api.send_signal(signal.SIGTERM)
        await asyncio.wait({api}, timeout=self._settings.shutdown_timeout)

    def _announce(self, status: Status) -> None:
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        model = status.model.name if status.model else "?"
        logger.info(
            "llm-server %s answers at http://%s:%d with model %s", __version__, host, self._settings.port, model
        )

    def _handle_signals(self) -> None:
        """SIGHUP is a terminal that was closed; `nohup` has it ignored, and so it stays."""
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signum != signal.SIGHUP or signal.getsignal(signum) != signal.SIG_IGN:
                loop.add_signal_handler(signum, self._on_signal, signum)

    def _on_signal(self, signum: signal.Signals) -> None:
        """The first one begins the orderly end, another ends everything at once.

        `timeout` and some shells send the same signal twice, to the process and to its group: that is one signal.
        """
        now = time.monotonic()
        if not self._ending.is_set():
            logger.info("%s: streams may finish within %g s", signum.name, self._settings.shutdown_timeout)
            self._ended_at = now
            self._end(0)
        elif now - self._ended_at > SAME_SIGNAL_SECONDS:
            self._exit_code = 128 + signum
            kill_children()

    def _end(self, code: int) -> None:
        if not self._ending.is_set():
            self._exit_code = code
            self._ending.set()


def serve(settings: Settings) -> int:
    """Run the server until it is told to stop. Returns the process's exit code.

    Raises:
        SettingsError: it can not be started like this: the address is taken, a key can not be read.
    """
    configure_logging(settings.log_level, "supervisor", settings.log_format)
    settings.read_api_key()
    read_seal_key(settings)
    traces_protocol()
    return asyncio.run(Supervisor(settings).run())
