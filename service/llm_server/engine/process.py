"""The engine as a process of its own, the only one that imports MLX: `python -m llm_server.engine.process`.

Answers on its socket from the first moment; loads the model, proves that it generates, serves. Exit codes: 0 after
SIGTERM, 2 for settings that make no sense, 78 (EX_CONFIG) when the model can not be loaded, anything else is a crash.
Ctrl-C reaches the whole process group, so SIGINT is left to the parent to decide on.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import uuid
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Final, NoReturn, Protocol, TypeAlias

import msgspec
import zmq

from llm_server.child_process import end_with_parent
from llm_server.engine.blas import use_openblas
from llm_server.engine.channel import Clients
from llm_server.engine.decoder import Decoder
from llm_server.engine.loop import Key, Loop
from llm_server.engine.scheduler import Scheduler
from llm_server.engine.types import Abort, Hello, ModelInfo, Refused, Status, Submit
from llm_server.harmony.encoding import VOCABULARY_SIZE
from llm_server.model_files import ModelError
from llm_server.observability.engine_reports import EngineReports
from llm_server.observability.logging import configure_logging
from llm_server.observability.records import Introduction
from llm_server.observability.sender import Sender
from llm_server.settings import Settings, SettingsError, exit_on_error, load_settings

if TYPE_CHECKING:
    from llm_server.engine.found import FoundModel
    from llm_server.engine.memory import MemoryPlan

EXIT_CANNOT_LOAD: Final = 78
_RECEPTION_SECONDS: Final = 0.2

logger = logging.getLogger("llm_server.engine.process")  # also where this is the program: `__main__` is none of ours


class WarmDecoder(Decoder, Protocol):
    def warm_up(self) -> None:
        """Generate a token for real, so that "ready" is never said of a model that does not run."""


Load: TypeAlias = Callable[[Settings], tuple[WarmDecoder, ModelInfo]]


def main(load: Load | None = None) -> None:
    """Run an engine as the settings say; `load` stands in for loading their model."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    try:
        settings = load_settings()
    except SettingsError as error:
        exit_on_error(error)
    configure_logging(settings.log_level, "engine", settings.log_format)
    serve(settings, load or load_batch)


def serve(settings: Settings, load: Load) -> None:
    """Bind, load, serve until SIGTERM."""
    incarnation = uuid.uuid4().hex
    signal.signal(signal.SIGTERM, _exit_at_once)
    with _bind(settings.engine_address) as clients:
        with _Reception(clients, incarnation):
            decoder, model = load(settings)
            decoder.warm_up()
        scheduler = Scheduler[Key](
            max_running=settings.max_concurrency,
            max_waiting=settings.max_queue,
            max_tokens=decoder.statistics().kv_tokens_capacity,
        )
        reports = _reports(settings.metrics_address)
        loop = Loop(decoder, clients, scheduler, incarnation=incarnation, model=model, observer=reports)
        signal.signal(signal.SIGTERM, lambda _, __: loop.drain(settings.shutdown_timeout))
        loop.run()


def _reports(metrics_address: str | None) -> EngineReports | None:
    """Who tells the owner of the metrics about this engine, if there is one."""
    return EngineReports(Sender(metrics_address, Introduction("engine"))) if metrics_address else None


def load_batch(settings: Settings) -> tuple[WarmDecoder, ModelInfo]:
    """The model that the settings ask for. MLX is imported here, once the socket answers.

    Raises:
        SystemExit: it can not be loaded, with one line on stderr that says why.
    """
    use_openblas()
    try:
        from llm_server.engine.found import find_model

        return _load(find_model(settings), settings)
    except ImportError as error:
        _give_up(f"MLX can not be imported: {error}")
    except ModelError as error:
        _give_up(str(error))


def _load(found: FoundModel, settings: Settings) -> tuple[WarmDecoder, ModelInfo]:
    from llm_server.engine.batch import Batch
    from llm_server.engine.guard import Grammars
    from llm_server.engine.loading import load
    from llm_server.engine.memory import device_memory, plan_memory
    from llm_server.harmony.guard import guard_tokenizer

    grammars = Grammars(guard_tokenizer, VOCABULARY_SIZE) if settings.harmony_guard == "on" else None
    loaded = load(found, settings.quantization)
    memory = plan_memory(settings, loaded.info, loaded.layers.token_bytes, device_memory(found.device))
    batch = Batch(
        loaded.model,
        max_concurrency=settings.max_concurrency,
        prefill_step_size=loaded.prefill_step_size(settings),
        grammars=grammars,
        layers=loaded.layers,
        memory=memory,
    )
    return batch, _within_memory(loaded.info, memory)


def _within_memory(info: ModelInfo, memory: MemoryPlan) -> ModelInfo:
    """No longer context is promised than one request alone has room for."""
    known = memory.prefix_cache_bytes / 1e6
    logger.info("Room for %d tokens in a batch, and %.0f MB for prompts that come again", memory.kv_tokens, known)
    if memory.kv_tokens >= info.context_length:
        return info
    logger.warning("The context is %d tokens: memory has no room for more (LLM_MAX_KV_TOKENS)", memory.kv_tokens)
    return msgspec.structs.replace(info, context_length=memory.kv_tokens)


class _Reception:
    """Answers clients from a thread while the main one is busy loading: "loading", come back later."""

    def __init__(self, clients: Clients, incarnation: str) -> None:
        self._clients = clients
        self._status = Status(incarnation, "loading", None, 0, 0)
        self._loaded = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reception", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        """The socket is the caller's again."""
        self._loaded.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._loaded.is_set():
            for client, message in self._clients.receive(_RECEPTION_SECONDS):
                match message:
                    case Submit(request_id=request_id):
                        self._clients.post(client, Refused(request_id, "not_ready"))
                    case Hello() | Abort():
                        pass
            self._clients.post_all(self._status)
            self._clients.flush()


def _bind(address: str | None) -> Clients:
    if address is None:
        exit_on_error(SettingsError("LLM_ENGINE_ADDRESS is not set: it is the socket this process listens on"))
    try:
        return Clients(address)
    except zmq.ZMQError as error:
        exit_on_error(SettingsError(f"LLM_ENGINE_ADDRESS={address}: {error}"))


def _exit_at_once(_: int, __: FrameType | None) -> NoReturn:
    """SIGTERM while the model loads: nothing is in flight, and a download must not be waited for."""
    os._exit(0)


def _give_up(reason: str) -> NoReturn:
    sys.stderr.write(f"llm-server: {reason}\n")
    raise SystemExit(EXIT_CANNOT_LOAD)


if __name__ == "__main__":
    main()
