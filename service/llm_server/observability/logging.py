"""Log lines of every process: readable on a terminal, one JSON object per line elsewhere.

Never content, at any level. Besides what is written to a log on purpose, three things could carry a prompt into it,
and are cut: messages of foreign exceptions (pydantic's show their input), query strings, and the lines of other
libraries below a warning.
"""

from __future__ import annotations

import json
import logging
import logging.config
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from llm_server.errors import ServerError

_SPEAKING_ERRORS = (
    *(ServerError, OSError, ImportError, RuntimeError, MemoryError),
    *(SyntaxError, NameError, AttributeError),
)
"""Exceptions whose messages are about the server and its machine. Of others the type and the place are logged."""

_PROBES = frozenset({"/health", "/livez", "/readyz", "/metrics"})

_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def configure_logging(level: str, role: str) -> None:
    """Set up this process's logging to stderr. `role` names the process in each line: supervisor, engine or api."""
    logging.config.dictConfig(logging_config(level, role))


def logging_config(level: str, role: str, *, readable: bool | None = None) -> dict[str, Any]:
    """The same as a `logging.config` dictionary. `readable` None means: if stderr is a terminal."""
    form = "readable" if (sys.stderr.isatty() if readable is None else readable) else "json"
    threshold = logging.getLevelNamesMapping()[level.upper()]
    others = max(threshold, logging.WARNING)
    direct = {"handlers": ["stderr"], "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"access": {"()": AccessLines}},
        "formatters": {
            "readable": {"()": ReadableFormatter, "role": role},
            "json": {"()": JsonFormatter, "role": role},
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": form}},
        "root": {"level": others, "handlers": ["stderr"]},
        "loggers": {
            "llm_server": {"level": threshold},
            "uvicorn.access": {"level": threshold, "filters": ["access"], **direct},
            # uvicorn's worker class gives these two loggers' handlers and levels to uvicorn's own. Of starts and
            # ends of workers, all that they say at "info", the supervisor says what matters.
            "gunicorn.error": {"level": threshold if threshold == logging.DEBUG else others, **direct},
            "gunicorn.access": {"level": threshold, **direct},
        },
    }


class AccessLines(logging.Filter):
    """Access lines without query strings, and none for probes, which come every few seconds and change nothing."""

    def filter(self, record: logging.LogRecord) -> bool:
        """uvicorn's line has the arguments (client, method, path with query, HTTP version, status)."""
        if not isinstance(record.args, tuple) or len(record.args) != 5:
            return True
        client, method, whole, version, status = record.args
        path = str(whole).partition("?")[0]
        record.args = (client, method, path, version, status)
        return path not in _PROBES


class ReadableFormatter(logging.Formatter):
    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        line = f"{time} {record.levelname.lower():<8} {self._role:<10} {record.getMessage()}"
        return "\n".join([line, *_exception_lines(record)])


class JsonFormatter(logging.Formatter):
    """Fields that were given as `extra` become members of the object."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": self._role,
            "pid": record.process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields |= {name: value for name, value in vars(record).items() if name not in _STANDARD_FIELDS}
        if lines := _exception_lines(record):
            fields["exception"] = "\n".join(lines)
        return json.dumps(fields, default=str)


def _exception_lines(record: logging.LogRecord) -> list[str]:
    return list(_lines(record.exc_info[1])) if record.exc_info and record.exc_info[1] else []


def _lines(error: BaseException) -> Iterator[str]:
    """A traceback as Python prints it, less the messages that may quote somebody."""
    earlier = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if earlier is not None:
        yield from _lines(earlier)
        yield "which led to:"
    yield from "".join(traceback.format_tb(error.__traceback__)).splitlines()
    name = f"{type(error).__module__}.{type(error).__qualname__}"
    yield f"{name}: {error}" if isinstance(error, _SPEAKING_ERRORS) else name
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from ("  " + line for line in _lines(each))
