"""Every setting of the server, read once from `LLM_*` variables and `.env`. The only reader of the environment.

A misspelt name is an error that suggests the right one: a setting that is silently ignored costs an evening.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "LLM_"

Quantization = Literal["int4", "int8", "fp16", "none"]
Device = Literal["auto", "gpu", "mps", "cpu"]
LogLevel = Literal["debug", "info", "warning", "error", "critical"]


class SettingsError(ValueError):
    """A setting is unknown or has an impossible value. The message is one line per fault, fit for a terminal."""


class Settings(BaseSettings):
    """All settings. Each field is the variable `LLM_<NAME>`; its description is what `.env.example` says of it."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=".env", frozen=True, extra="ignore")

    host: Annotated[str, Field(description="Address to listen on. Off loopback, an API key is needed.")] = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535, description="Port to listen on.")] = 42002
    workers: Annotated[int, Field(ge=1, le=64, description="API worker processes. They share one engine.")] = 1
    log_level: Annotated[LogLevel, Field(description="debug, info, warning, error or critical.")] = "info"
    model_path: Annotated[
        str | None,
        Field(
            description="A model directory or a Hugging Face repo id. Unset: gpt-oss-20b on Apple Silicon with 16 GB"
            " or more, the embedded model elsewhere. `tiny` is the embedded model."
        ),
    ] = None
    model_name: Annotated[
        str | None, Field(description="The name the model is served under. Unset: the directory's or repo's name.")
    ] = None
    model_aliases: Annotated[
        tuple[str, ...],
        NoDecode,
        Field(description="Further names it answers to: comma-separated patterns with `*`."),
    ] = ("gpt-oss-*", "claude-*")
    device: Annotated[Device, Field(description="auto, gpu, mps (the same as gpu, on a Mac) or cpu.")] = "auto"
    quantization: Annotated[
        Quantization | None,
        Field(description="int4, int8, fp16 or none: the build that is loaded, or what unquantised layers become."),
    ] = None
    context_length: Annotated[
        int | None, Field(ge=256, description="Longest prompt and answer together, in tokens. Unset: the model's own.")
    ] = None
    max_concurrency: Annotated[int, Field(ge=1, le=256, description="Requests decoded together in one batch.")] = 32
    max_queue: Annotated[int, Field(ge=0, description="Requests that may wait; more are refused with 429 (529).")] = 256
    prefill_step_size: Annotated[
        int, Field(ge=16, description="Prompt tokens read between two decode steps of the other streams.")
    ] = 512
    request_timeout: Annotated[float, Field(gt=0, description="Seconds a request may take in all.")] = 300
    keepalive_timeout: Annotated[int, Field(ge=1, description="Seconds an idle connection is kept open.")] = 65
    shutdown_timeout: Annotated[float, Field(ge=0, description="Seconds streams may still run after SIGTERM.")] = 30
    max_body_bytes: Annotated[int, Field(ge=1024, description="Largest request body.")] = 16 * 1024 * 1024
    api_key: Annotated[SecretStr | None, Field(description="What clients present: bearer token or x-api-key.")] = None
    api_key_file: Annotated[Path | None, Field(description="A file that holds the API key.")] = None
    cors_origins: Annotated[
        tuple[str, ...], NoDecode, Field(description="Web origins that may call: comma-separated, none by default.")
    ] = ()
    allowed_hosts: Annotated[
        tuple[str, ...],
        NoDecode,
        Field(description="Further Host header values that are accepted, besides those of loopback and LLM_HOST."),
    ] = ()
    state_dir: Annotated[
        Path, Field(description="Folder for the engine's socket and other state, made with mode 0700.")
    ] = Path("~/.local/state/llm-server")

    engine_address: Annotated[
        str | None,
        Field(description="Socket of an engine that runs already. `llm-server serve` sets it for its API workers."),
    ] = None

    @field_validator("model_aliases", "cors_origins", "allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("log_level", "device", "quantization", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator(
        "model_path", "model_name", "quantization", "context_length", "api_key", "api_key_file", mode="before"
    )
    @classmethod
    def _empty_is_unset(cls, value: Any) -> Any:
        return None if value == "" else value

    @field_validator("state_dir", "api_key_file")
    @classmethod
    def _expand(cls, value: Path | None) -> Path | None:
        return value.expanduser() if value else value

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
            SettingsError: the file can not be read or is empty.
        """
        if self.api_key is not None:
            return self.api_key.get_secret_value()
        if self.api_key_file is None:
            return None
        try:
            key = self.api_key_file.read_text().strip()
        except OSError as error:
            raise SettingsError(f"LLM_API_KEY_FILE={self.api_key_file}: {error.strerror}") from error
        if not key:
            raise SettingsError(f"LLM_API_KEY_FILE={self.api_key_file} is empty")
        return key


def load_settings(**overrides: Any) -> Settings:
    """Settings from the environment and `.env`; `overrides` win (the command line's options).

    Raises:
        SettingsError: an unknown name or an impossible value, one line each.
    """
    unknown = [*_unknown(os.environ), *_unknown(dotenv_values(".env"))]
    if unknown:
        raise SettingsError("\n".join(unknown))
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise SettingsError("\n".join(_lines(error))) from None


def exit_on_error(error: Exception) -> None:
    """End the process as a command-line program does: one clear line, status 2."""
    print(f"llm-server: {error}", file=sys.stderr)  # noqa: T201
    raise SystemExit(2)


def _unknown(names: Iterable[str] | Mapping[str, Any]) -> list[str]:
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    return [_suggestion(name, known) for name in names if name.startswith(PREFIX) and name not in known]


def _suggestion(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"{name} is no setting of this server." + (f" Did you mean {close[0]}?" if close else "")


def _lines(error: ValidationError) -> list[str]:
    return [_line(fault) for fault in error.errors(include_url=False, include_input=False)]


def _line(fault: Any) -> str:
    name = PREFIX + str(fault["loc"][0]).upper() + ": " if fault["loc"] else ""
    return name + str(fault["msg"]).removeprefix("Value error, ")
