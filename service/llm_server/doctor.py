"""`llm-server doctor`: what stands in the way of the server and of its dashboards, and what to do about it.

Looks, and changes nothing. Each check is a function that returns one `Finding`; those about containers are in
`doctor_containers.py`. Knows no MLX: what the engine can do is asked of a server that runs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import IO, Final, Literal, TypeAlias

import httpx2

from llm_server.addresses import listen
from llm_server.model_download import cached_model
from llm_server.model_files import ModelError, read_model_files
from llm_server.model_source import GIB, HubRepo, LocalFolder, Machine, ModelChoice, choose_model, this_machine
from llm_server.settings import Settings, SettingsError, load_settings

Verdict: TypeAlias = Literal["ok", "skipped", "warning", "failed"]
"""`skipped`: there was nothing to check. Only `failed` is a reason not to start."""

PROMETHEUS: Final = "http://127.0.0.1:9090"

_PROBE_SECONDS: Final = 5.0
_GPU_SHARE: Final = 0.75
"""Of a Mac's memory, what the GPU may use by default."""
_PROCESSES: Final = 0.7 * GIB
_BESIDES_WEIGHTS: Final = 0.08
"""Of the weights' size, for prompts and MLX's buffers at a usual length of conversations."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found, and what to do about it; `advice` is empty when there is nothing to do."""

    check: str
    verdict: Verdict
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Server:
    """The server that was found at the configured address."""

    settings: Settings
    url: str


def main(arguments: Sequence[str]) -> int:
    """Check and print. Returns 1 if anything failed."""
    options = _parser().parse_args(arguments)
    return doctor(sys.stdout, as_json=options.json, prometheus=options.prometheus)


def doctor(output: IO[str], *, as_json: bool = False, prometheus: str = PROMETHEUS) -> int:
    """One finding after the other, each as soon as it is known; as JSON, all of them as one list."""
    findings = []
    for finding in examine(prometheus):
        findings.append(finding)
        if not as_json:
            print(*_lines(finding), sep="\n", file=output, flush=True)
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2), file=output)
    return int(any(finding.verdict == "failed" for finding in findings))


def examine(prometheus: str = PROMETHEUS) -> Iterator[Finding]:
    """All checks, from what the others stand on to what stands on them."""
    from llm_server.doctor_containers import container_findings

    try:
        settings = load_settings()
    except SettingsError as error:
        yield Finding("settings", "failed", str(error), "Correct it in the environment or in .env; see .env.example.")
        return
    yield Finding("settings", "ok", f"{len(settings.model_fields_set)} set, all known")
    yield from _model_findings(settings, this_machine())
    server = Server(settings, own_url(settings))
    port = check_port(server)
    yield port
    yield check_key(server, runs=port.verdict == "ok")
    yield from container_findings(server, prometheus, runs=port.verdict == "ok")


def _model_findings(settings: Settings, machine: Machine) -> Iterator[Finding]:
    try:
        choice = choose_model(settings, machine)
        size = _size_on_disk(choice)
    except ModelError as error:
        yield Finding("model", "failed", str(error), "LLM_MODEL_PATH chooses another; `tiny` always works.")
        return
    if size is None:
        advice = "The first start downloads it once (gpt-oss-20b: about 12 GB)."
        yield Finding("model", "ok", f"{choice.name}, not downloaded yet ({choice.reason})", advice)
    else:
        yield Finding("model", "ok", f"{choice.name}, {_decimal(size)} ({choice.reason})")
    yield check_memory(machine, size)


def _size_on_disk(choice: ModelChoice) -> int | None:
    """Bytes of the weights; None if they are not here yet.

    Raises:
        ModelError: they are here and damaged.
    """
    match choice.source:
        case LocalFolder(path):
            return read_model_files(path).size
        case HubRepo():
            folder = cached_model(choice.source)
            return read_model_files(folder).size if folder else None


def _decimal(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def check_memory(machine: Machine, model_bytes: int | None) -> Finding:
    """Whether the weights fit, with room for prompts."""
    total = f"{machine.memory_bytes / GIB:.1f} GB"
    if model_bytes is None:
        return Finding("memory", "skipped", f"{total}; whether the model fits is known once it is here")
    usable = machine.memory_bytes * (_GPU_SHARE if machine.is_apple_silicon else 1)
    needed = model_bytes * (1 + _BESIDES_WEIGHTS) + _PROCESSES
    if needed <= usable:
        return Finding("memory", "ok", f"{total}, of which the model needs about {needed / GIB:.1f}")
    advice = "LLM_QUANTIZATION=int4 or LLM_MODEL_PATH=tiny takes less; so does closing other programs."
    return Finding("memory", "failed", f"{total} are too few: the model needs about {needed / GIB:.1f}", advice)


def check_port(server: Server) -> Finding:
    """Who answers at the configured address. `ok` means: this server."""
    try:
        body = httpx2.get(server.url + "/health", timeout=_PROBE_SECONDS).json()
        loaded = body["model_loaded"]
    except httpx2.ConnectError:
        return _free_or_not(server.settings)
    except httpx2.TimeoutException:
        return _silent(server.settings)
    except (httpx2.HTTPError, ValueError, KeyError, TypeError):
        return _taken(server.settings)
    if body["status"] != "ok":
        advice = "Its log says why; the engine is started again by itself."
        return Finding("server", "failed", f"answers at {server.url}, and its engine is lost", advice)
    what = f"with model {body['model_name']}" if loaded else "and is loading its model"
    return Finding("server", "ok", f"answers at {server.url} {what}")


def _free_or_not(settings: Settings) -> Finding:
    try:
        for listener in listen(settings.host, settings.port):
            listener.close()
    except SettingsError as error:
        return Finding("server", "failed", str(error), "LLM_HOST and LLM_PORT choose the address.")
    found = f"does not run; port {settings.port} is free"
    return Finding("server", "warning", found, "`make serve` or `llm-server serve` starts it.")


def _silent(settings: Settings) -> Finding:
    found = f"whoever has port {settings.port} says nothing for {_PROBE_SECONDS:g} s"
    advice = "If it is this server, it hangs: start it again, and keep its log. Else choose another LLM_PORT."
    return Finding("server", "failed", found, advice)


def _taken(settings: Settings) -> Finding:
    found = f"port {settings.port} is taken by another program"
    return Finding("server", "failed", found, "End that program, or choose another port with LLM_PORT.")


def check_key(server: Server, *, runs: bool) -> Finding:
    """Whether the server that runs and these settings agree on the key."""
    try:
        key = server.settings.read_api_key()
    except SettingsError as error:
        return Finding("key", "failed", str(error), "Write one key into the file, or set LLM_API_KEY.")
    kind = "set" if key else "none is needed on loopback"
    if not runs:
        return Finding("key", "ok", kind)
    try:
        status = httpx2.get(server.url + "/v1/models", headers=bearer(key), timeout=_PROBE_SECONDS).status_code
    except httpx2.HTTPError:
        return Finding("key", "skipped", "the running server has not said whether it takes it", "Ask again.")
    if status == 401:
        advice = "The server was started with another LLM_API_KEY: start it again, or set the same one here."
        return Finding("key", "failed", "the running server does not take it", advice)
    return Finding("key", "ok", f"{kind}, and the running server agrees")


def bearer(key: str | None) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"} if key else {}


def own_url(settings: Settings) -> str:
    """The address under which this machine reaches its own server."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "") else "::1" if settings.host == "::" else settings.host
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def _lines(finding: Finding) -> Iterator[str]:
    yield f"{finding.verdict:<8} {finding.check:<11} {finding.found}"
    if finding.advice:
        yield f"{'':<20} {finding.advice}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="llm-server doctor",
        description="Check the model, memory, port, key, Docker and monitoring, and say what to do. Exit code 1 if"
        " something failed.",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list of findings")
    parser.add_argument("--prometheus", default=PROMETHEUS, metavar="URL", help="default: %(default)s")
    return parser
