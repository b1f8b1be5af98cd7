"""Keeps the server running: one engine process, gunicorn with its API workers, and an orderly end of both.

Imports neither MLX nor FastAPI, so it has nothing to die of. Keeps the metrics of all processes, and outlives them.
Knows no request, and of the engine what `running_engine` tells.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from functools import partial

from llm_server import __version__
from llm_server.addresses import listen, metrics_socket
from llm_server.child_process import Child, kill_children
from llm_server.engine.types import Status
from llm_server.harmony.recordings import make_private
from llm_server.model_source import served_name
from llm_server.observability.logging import configure_logging
from llm_server.observability.metrics import Metrics
from llm_server.observability.owner import owned_metrics
from llm_server.running_engine import Backoff, announce_restart, child_variables, end_on_error, running_engine
from llm_server.seal_key import read_seal_key
from llm_server.settings import Settings, SettingsError, traces_protocol

API_COMMAND = (
    *(sys.executable, "-P", "-m", "gunicorn"),
    *("--config", "python:llm_server.gunicorn_config"),
    "llm_server.server:app",
)
_API_RESTARTS = 3
"""gunicorn replaces workers itself. If it ends again and again, there is nobody who could answer requests with 503."""

_API_STOP_SECONDS = 5.0
SAME_SIGNAL_SECONDS = 0.5

logger = logging.getLogger(__name__)


@asynccontextmanager
async def owned(settings: Settings, metrics: Metrics) -> AsyncIterator[str]:
    """Let the server's processes fill these metrics, and ask for them. Yields the address for both.

    Raises:
        SettingsError: there is no place for the socket.
    """
    with metrics_socket(settings.state_dir) as address:
        async with owned_metrics(address, metrics):
            yield address


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
            variables = child_variables(self._settings, address, metrics_address)
            api = asyncio.create_task(self._keep_api(variables, listeners))
            api.add_done_callback(partial(end_on_error, self._end))
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
            delay = announce_restart("API", code, backoff)
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
        SettingsError: it can not be started like this: the address is taken, a key can not be read, a folder not made.
    """
    configure_logging(settings.log_level, "supervisor", settings.log_format)
    settings.read_api_key()
    read_seal_key(settings)
    traces_protocol()
    _make_recordings_folder(settings)
    return asyncio.run(Supervisor(settings).run())


def _make_recordings_folder(settings: Settings) -> None:
    if settings.record is not None:
        try:
            make_private(settings.record)
        except OSError as error:
            raise SettingsError(f"LLM_RECORD={settings.record}: {error.strerror}") from None
