"""Every setting of the server, read once from `LLM_*` variables and `.env`. The only reader of the environment.

A misspelt name is an error that suggests the right one: a setting that is silently ignored costs an evening.
`python -m llm_server.settings` prints `.env.example`, so what it says of a setting is what stands here.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
import textwrap
from collections.abc import Iterable, Mapping
from io import StringIO
from ipaddress import ip_address
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NoReturn

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX: Final = "LLM_"

SETTLED: Final = "PARENT_SETTLED_SETTINGS"
"""The variable that tells a child that its environment has all settings, so that it reads no `.env`, which may say
something else by now. Not a setting, so not `LLM_*`."""

OTHER_PROGRAMS: Final = frozenset(
    {
        *("LLM_USER_PATH", "LLM_LOAD_PLUGINS", "LLM_RAISE_ERRORS"),
        *("LLM_SERVER_IMAGE", "LLM_CPU_PORT", "LLM_CPU_MODEL_PATH"),
    }
)
"""`LLM_*` names of the `llm` command-line tool, which the same people have installed, and of docker-compose.yml, which
reads the same `.env`."""

_ORIGIN: Final = re.compile(r"\*|(?:https?|app|tauri|vscode-webview|(?:chrome|moz)-extension)://[^/\s]+")
"""Of a web page, a browser's extension, or a program that is a web page in a window of its own."""

_KEY: Final = re.compile(r"[!-~]+")

_LISTS: Final = ("model_aliases", "cors_origins", "allowed_hosts")

Quantization = Literal["int4", "int8", "fp16", "none"]
Device = Literal["auto", "gpu", "mps", "cpu"]
LogLevel = Literal["debug", "info", "warning", "error", "critical"]
LogFormat = Literal["auto", "json", "pretty"]
TracesProtocol = Literal["grpc", "http/protobuf"]


class SettingsError(ValueError):
    """A setting is unknown or has an impossible value. The message is one line per fault, fit for a terminal."""


class Settings(BaseSettings):
    """All settings. Each field is the variable `LLM_<NAME>`; its description is what `.env.example` says of it."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=".env", frozen=True, extra="ignore")

    host: Annotated[str, Field(description="Address to listen on. Off loopback, an API key is needed.")] = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535, description="Port to listen on.")] = 42002
    workers: Annotated[int, Field(ge=1, le=64, description="API worker processes. They share one engine.")] = 1
    log_level: Annotated[LogLevel, Field(description="debug, info, warning, error or critical.")] = "info"
    log_format: Annotated[
        LogFormat, Field(description="pretty, json (one object per line) or auto: pretty on a terminal, else json.")
    ] = "auto"
    canary_interval: Annotated[
        float,
        Field(
            ge=0,
            allow_inf_nan=False,
            description="Seconds without a request after which one token is generated, to see that the model still"
            " answers. 0: never.",
        ),
    ] = 30
    model_path: Annotated[
        str | None,
        Field(
            description="A model directory, a Hugging Face repo id (owner/name, or owner/name@revision to pin it) or"
            " `tiny`, the embedded model. Unset: gpt-oss-20b on Apple Silicon with 16 GB or more, else the embedded"
            " model."
        ),
    ] = None
    model_name: Annotated[
        str | None, Field(description="The name the model is served under. Unset: the directory's or repo's name.")
    ] = None
    model_aliases: Annotated[
        tuple[str, ...],
        NoDecode,
        Field(description="Further names it answers to: comma-separated patterns with `*`. Empty: none."),
    ] = ("gpt-oss-*", "openai/gpt-oss-*", "claude-*")
    device: Annotated[
        Device, Field(description="auto (a GPU if there is one), gpu, mps (the GPU of a Mac) or cpu.")
    ] = "auto"
    quantization: Annotated[
        Quantization | None,
        Field(
            description="Which build of gpt-oss-20b is downloaded, and what becomes of layers that are not quantised"
            " in the files: int4, int8, fp16 (16-bit floats; bfloat16, because gpt-oss overflows float16) or none (as"
            " the files have them). Unset: the build that fits the memory, layers as they are fastest on the device."
        ),
    ] = None
    context_length: Annotated[
        int | None, Field(ge=256, description="Longest prompt and answer together, in tokens. Unset: the model's own.")
    ] = None
    max_concurrency: Annotated[int, Field(ge=1, le=256, description="Requests decoded together in one batch.")] = 32
    max_queue: Annotated[int, Field(ge=0, description="Requests that may wait; more are refused with 429 (529).")] = 256
    prefill_step_size: Annotated[
        int | None,
        Field(
            ge=16,
            le=32_768,
            description="Prompt tokens read between two decode steps of the other streams. Unset: 512 on a GPU, 64 on a"
            " CPU.",
        ),
    ] = None
    prefix_cache_bytes: Annotated[
        int | None,
        Field(
            ge=0,
            description="Memory for what was computed of earlier prompts, so that the next turn of a conversation reads"
            " only what is new. 0: none. Unset: about a third of what the model leaves of the device's memory.",
        ),
    ] = None
    max_kv_tokens: Annotated[
        int | None,
        Field(
            ge=256,
            description="Tokens that the requests in a batch may take up: their number times the longest one, prompt"
            " and answer together. What does not fit waits. Unset: about half of what the model leaves of the device's"
            " memory.",
        ),
    ] = None
    harmony_guard: Annotated[
        Literal["on", "off"],
        Field(description="on: the model can only write well-formed Harmony and valid arguments. off: it is trusted."),
    ] = "on"
    client_markers: Annotated[
        Literal["drop", "keep"],
        Field(
            description="drop: what clients write anew on every turn and no model needs (Claude Code's billing line and"
            " its countdown of tokens) is left out of the prompt, which can then be reused. keep: it is run as sent."
        ),
    ] = "drop"
    record: Annotated[
        Path | None,
        Field(
            description="A folder for the token ids of every prompt and answer, analysis included, to be read with"
            " `llm-server explain`. The only place where analysis is stored; unset: none."
        ),
    ] = None
    request_timeout: Annotated[
        float, Field(gt=0, allow_inf_nan=False, description="Seconds a request may take in all, once it has arrived.")
    ] = 300
    keepalive_timeout: Annotated[int, Field(ge=1, description="Seconds an idle connection is kept open.")] = 65
    ping_interval: Annotated[
        float,
        Field(
            gt=0,
            allow_inf_nan=False,
            description="Seconds of silence after which a stream shows that it is alive: with a comment or an event.",
        ),
    ] = 5
    shutdown_timeout: Annotated[
        float, Field(ge=0, allow_inf_nan=False, description="Seconds streams may still run after SIGTERM.")
    ] = 30
    max_body_bytes: Annotated[int, Field(ge=1024, description="Largest request body.")] = 16 * 1024 * 1024
    api_key: Annotated[SecretStr | None, Field(description="What clients present: bearer token or x-api-key.")] = None
    api_key_file: Annotated[
        Path | None, Field(description="A file that holds the API key. LLM_API_KEY wins over it.")
    ] = None
    seal_key: Annotated[
        SecretStr | None,
        Field(
            description="Secret with which reasoning is sealed for clients that carry it between requests: several"
            " servers with the same one open each other's seals. Take a long random one. Unset: a key that is made at"
            " the first start and kept in LLM_STATE_DIR."
        ),
    ] = None
    cors_origins: Annotated[
        tuple[str, ...],
        NoDecode,
        Field(description="Web origins that may call, as http://localhost:3000: comma-separated, none by default."),
    ] = ()
    allowed_hosts: Annotated[
        tuple[str, ...],
        NoDecode,
        Field(description="Further Host header values that are accepted, besides those of loopback and LLM_HOST."),
    ] = ()
    state_dir: Annotated[
        Path,
        Field(description="Folder for the engine's socket, the key of seals and other state, made with mode 0700."),
    ] = Path("~/.local/state/llm-server")
    store_max_responses: Annotated[
        int,
        Field(
            ge=0,
            description="How many answers of the Responses API are kept for later requests, unless these say `store:"
            " false`: in LLM_STATE_DIR, without the analysis. 0: none.",
        ),
    ] = 10_000
    store_max_bytes: Annotated[int, Field(ge=1, description="How many bytes of them are kept.")] = 256 * 1024 * 1024
    store_max_days: Annotated[
        float, Field(gt=0, allow_inf_nan=False, description="Days for which an answer is kept that nobody asks for.")
    ] = 30

    engine_address: Annotated[
        str | None,
        Field(description="Socket of an engine that runs already. `llm-server serve` sets it for its API workers."),
    ] = None
    metrics_address: Annotated[
        str | None,
        Field(description="Socket of the process that keeps the metrics. `llm-server serve` sets it for the others."),
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _strip_and_drop_empty(cls, values: Any) -> Any:
        """An empty variable is an unset one, as `LLM_API_KEY=${LLM_API_KEY}` in a compose file needs; not for lists."""
        stripped = {name: value.strip() if isinstance(value, str) else value for name, value in values.items()}
        return {name: value for name, value in stripped.items() if value != "" or name in _LISTS}

    @field_validator(*_LISTS, mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator(
        "log_level", "log_format", "device", "quantization", "harmony_guard", "client_markers", mode="before"
    )
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator("host")
    @classmethod
    def _host_alone(cls, value: str) -> str:
        host = value.removeprefix("[").removesuffix("]")
        if "/" in host or any(character.isspace() for character in host) or host.count(":") == 1:
            raise ValueError("An address or a name alone is needed, without scheme or port (LLM_PORT has the port)")
        return host

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(_ORIGIN.fullmatch(origin) for origin in value):
            raise ValueError("An origin is a scheme and a host, as http://localhost:3000, without a path")
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _host_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any("/" in name or name.count(":") == 1 for name in value):
            raise ValueError("A host is a name or an address alone, without scheme or port: any port is accepted")
        return value

    @field_validator("api_key")
    @classmethod
    def _usable_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _KEY.fullmatch(value.get_secret_value()):
            raise ValueError("A key is made of printable ASCII characters without spaces, as a header can carry it")
        return value

    @field_validator("state_dir", "api_key_file", "record")
    @classmethod
    def _expand(cls, value: Path | None) -> Path | None:
        try:
            return value.expanduser() if value else value
        except RuntimeError:
            raise ValueError(f"{value} is in a home folder that is not known here: give the whole path") from None

    @model_validator(mode="after")
    def _exposed_only_with_a_key(self) -> Settings:
        if not self.is_loopback and not self.has_key:
            raise ValueError(f"LLM_HOST={self.host} is reachable from other machines, so LLM_API_KEY must be set")
        return self

    @property
    def is_loopback(self) -> bool:
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def has_key(self) -> bool:
        return self.api_key is not None or self.api_key_file is not None

    def read_api_key(self) -> str | None:
        """The key itself, from the variable or the file.

        Raises:
            SettingsError: the file can not be read, is empty or holds no key.
        """
        if self.api_key is not None:
            return self.api_key.get_secret_value()
        if self.api_key_file is None:
            return None
        return _read_key(self.api_key_file)


def load_settings(**overrides: Any) -> Settings:
    """Settings from the environment and `.env`; `overrides` that are not None win (the command line's options).

    Raises:
        SettingsError: an unknown name or an impossible value, one line each.
    """
    unknown = [*_unknown(os.environ), *_unknown(_env_file())]
    if unknown:
        raise SettingsError("\n".join(unknown))
    try:
        return Settings(
            _env_file=_env_path(), **{name: value for name, value in overrides.items() if value is not None}
        )
    except ValidationError as error:
        raise SettingsError("\n".join(_lines(error))) from None


def adopt_tracing() -> None:
    """Take OpenTelemetry's variables from `.env`, too: what starts at login has no other place for them.

    Those of the environment win. Processes that are started later inherit them.
    """
    for name, value in _env_file().items():
        if name.startswith("OTEL_") and value is not None:
            os.environ.setdefault(name, value)


def traces_protocol() -> TracesProtocol | None:
    """How spans are exported, by OpenTelemetry's own variables; None if these name no collector.

    Without a protocol, port 4318 means HTTP and any other one gRPC, as every collector has it.

    Raises:
        SettingsError: they name a protocol that is not spoken.
    """
    off = (
        os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or _traces_variable("OTEL_TRACES_EXPORTER") == "none"
    )
    endpoint = _traces_variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    if off or not endpoint:
        return None
    match _traces_variable("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        case "grpc":
            return "grpc"
        case "http/protobuf":
            return "http/protobuf"
        case "":
            return "http/protobuf" if ":4318" in endpoint else "grpc"
        case other:
            raise SettingsError(f"OTEL_EXPORTER_OTLP_PROTOCOL={other} is not spoken here: grpc or http/protobuf is")


def service_name() -> str:
    return os.environ.get("OTEL_SERVICE_NAME") or "llm-server"


def env_example() -> str:
    """The text of `.env.example`: each setting with its description and default, commented out."""
    settings = [_example(name) for name in Settings.model_fields]
    return "\n\n".join(
        ["# Settings of llm-server. Copy this file to .env; each line shows the default.", *settings, ""]
    )


def exit_on_error(error: Exception) -> NoReturn:
    """End the process as a command-line program does: one clear line, status 2."""
    print(f"llm-server: {error}", file=sys.stderr)  # noqa: T201
    raise SystemExit(2)


def _read_key(path: Path) -> str:
    try:
        key = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"LLM_API_KEY_FILE={path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise SettingsError(f"LLM_API_KEY_FILE={path} is no text file") from None
    if not key:
        raise SettingsError(f"LLM_API_KEY_FILE={path} is empty")
    if not _KEY.fullmatch(key):
        raise SettingsError(f"LLM_API_KEY_FILE={path} must hold one key: printable ASCII characters without spaces")
    return key


def _env_path() -> Path | None:
    return None if SETTLED in os.environ else Path(".env")


def _env_file() -> Mapping[str, Any]:
    path = _env_path()
    try:
        text = path.read_text(encoding="utf-8") if path else ""
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SettingsError(f".env: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(".env is no UTF-8 text file") from None
    if faults := [line.original.line for line in parse_stream(StringIO(text)) if line.error]:
        raise SettingsError(f".env: line {faults[0]} is not of the form NAME=value")
    return dotenv_values(stream=StringIO(text))


def _traces_variable(*names: str) -> str:
    return next((value for name in names if (value := os.environ.get(name, "").strip())), "")


def _unknown(names: Iterable[str]) -> list[str]:
    known = [name.upper() for name in Settings.model_fields]
    ours = (name for name in names if name.upper().startswith(PREFIX) and name not in OTHER_PROGRAMS)
    return [_suggestion(name, known) for name in ours if name.upper().removeprefix(PREFIX) not in known]


def _suggestion(name: str, known: list[str]) -> str:
    """The first setting that has all of its words, else the one that looks most like it, both without the prefix."""
    meant = name.upper().removeprefix(PREFIX)
    complete = (other for other in known if set(meant.split("_")) <= set(other.split("_")))
    close = difflib.get_close_matches(meant, known, n=1)
    found = next(chain(complete, close), None)
    return f"{name} is no setting of this server." + (f" Did you mean {PREFIX}{found}?" if found else "")


def _lines(error: ValidationError) -> list[str]:
    return [_line(fault) for fault in error.errors(include_url=False, include_input=False)]


def _line(fault: Any) -> str:
    name = PREFIX + str(fault["loc"][0]).upper() + ": " if fault["loc"] else ""
    return name + str(fault["msg"]).removeprefix("Value error, ")


def _example(name: str) -> str:
    field = Settings.model_fields[name]
    default = ",".join(field.default) if name in _LISTS else field.default
    description = textwrap.wrap(field.description or "", width=110, break_on_hyphens=False)
    lines = [f"# {line}" for line in description]
    return "\n".join([*lines, f"#{PREFIX}{name.upper()}={'' if default is None else default}"])


if __name__ == "__main__":
    sys.stdout.write(env_example())
