"""Which model names are served, for every API: the model's own, and patterns that other names may match.

Nothing here loads a model: a name is only ever compared, so `../` or a repo id in a request is just an unknown name.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Final

from llm_server.engine.client import Engine
from llm_server.engine.types import ModelInfo
from llm_server.errors import EngineUnavailable, ModelNotFound

CREATED: Final = datetime(2025, 8, 5, tzinfo=UTC)
"""The day gpt-oss was released. The APIs want a date, and one that no restart changes."""

FAMILIAR: Final = ("gpt-oss-20b", "openai/gpt-oss-20b")
"""The names that clients' presets know, bare and with the publisher. Listed when a pattern allows them."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A name that may be asked for. `context_length` in tokens is None until the model is loaded."""

    name: str
    context_length: int | None = None
    created: datetime = CREATED


class ModelNames:
    """The names one engine's model answers to. `name` overrides the model's own; `aliases` are `*` patterns."""

    def __init__(self, engine: Engine, name: str | None, aliases: tuple[str, ...]) -> None:
        self._engine = engine
        self._name = name
        self._aliases = aliases

    @property
    def served(self) -> str | None:
        """The name the model is served under; None while it has none, because nothing is loaded yet."""
        info = self._info
        return self._name or (info.name if info else None)

    @property
    def fingerprint(self) -> str:
        """Changes when answers to the same seed may: another model, quantisation or device."""
        info = self._info
        identity = f"{info.name}/{info.quantization}/{info.device}" if info else ""
        return "fp_" + hashlib.sha256(identity.encode()).hexdigest()[:10]

    def require(self, requested: str) -> ServedModel:
        """The model under the name it was asked for, which responses echo.

        Raises:
            ModelNotFound: no such name.
            EngineUnavailable: the model is not loaded, so that its name is not known yet.
        """
        if requested == self.served or self._is_alias(requested):
            return self._model(requested)
        if self.served is None:
            raise EngineUnavailable("The model is still loading.", retry_after=2)
        raise ModelNotFound(
            f"This server does not serve that model. It serves '{self.served}', and answers to further names that"
            " LLM_MODEL_ALIASES lists.",
            param="model",
        )

    def listed(self) -> list[ServedModel]:
        """The served name first, then aliases that are concrete names."""
        names = [self.served, *(alias for alias in self._aliases if "*" not in alias)]
        names += [name for name in FAMILIAR if self._is_alias(name)]
        return [self._model(name) for name in dict.fromkeys(names) if name is not None]

    def _is_alias(self, name: str) -> bool:
        return name.isprintable() and len(name) <= 256 and any(fnmatchcase(name, alias) for alias in self._aliases)

    def _model(self, name: str) -> ServedModel:
        return ServedModel(name, self._info.context_length if self._info else None)

    @property
    def _info(self) -> ModelInfo | None:
        return self._engine.status.model if self._engine.status else None
