"""Log lines of every process: readable on a terminal, one JSON object per line elsewhere.

Never content, at any level. Besides what is written to a log on purpose, three things could carry a prompt into it,
and are cut: messages of foreign exceptions (pydantic's show their input), access lines with their paths and queries,
and the lines of other libraries below a warning.
"""

from __future__ import annotations

import json
import logging
import logging.config
import sys
import threading
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, TextIO

from llm_server.errors import ServerError
from llm_server.settings import LogFormat

log = logging.getLogger("llm_server.observability.logging")

_SPEAKING_ERRORS = (
    *(ServerError, OSError, ImportError, RuntimeError, MemoryError),
    *(SyntaxError, NameError, AttributeError),
)
"""Exceptions whose messages are about the server and its machine. Of others the type and the place are logged."""

_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def configure_logging(level: str, role: str, form: LogFormat = "auto") -> None:
    """Set up this process's logging to stderr. `role` names the process in each line: supervisor, engine or api.

    What nothing catches becomes a line, too: Python's own report quotes the exception's message, and is no JSON.
    """
    logging.config.dictConfig(logging_config(level, role, form))
    sys.excepthook = lambda _, error, __: _tell_uncaught(error)
    threading.excepthook = lambda failed: _tell_uncaught(failed.exc_value)


def _tell_uncaught(error: BaseException | None) -> None:
    """Ctrl-C and exits are no failures. Those of a thread are never told."""
    if isinstance(error, Exception):
        log.critical("Nothing has caught this exception.", exc_info=error)


def logging_config(level: str, role: str, form: LogFormat = "auto") -> dict[str, Any]:
    """The same as a `logging.config` dictionary."""
    if form == "auto":
        form = "pretty" if sys.stderr.isatty() else "json"
    threshold = logging.getLevelNamesMapping()[level.upper()]
    others = max(threshold, logging.WARNING)
    direct = {"handlers": ["stderr"], "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "pretty": {"()": PrettyFormatter, "role": role},
            "json": {"()": JsonFormatter, "role": role},
        },
        "handlers": {"stderr": {"()": Lines, "formatter": form}},
        "root": {"level": others, "handlers": ["stderr"]},
        "loggers": {
            "llm_server": {"level": threshold},
            # Requests have lines of their own (`llm_server.requests`): these would quote paths and query strings.
            "uvicorn.access": {"level": logging.CRITICAL, **direct},
            # uvicorn's worker class gives these two loggers' handlers and levels to uvicorn's own. Of starts and
            # ends of workers, all that they say at "info", the supervisor says what matters.
            "gunicorn.error": {"level": threshold if threshold == logging.DEBUG else others, **direct},
            "gunicorn.access": {"level": threshold, **direct},
        },
    }


class Lines(logging.StreamHandler[TextIO]):
    """Writes to stderr. A disk that is full, or a reader that has gone, costs the line and nothing else.

    The library's own handler would print the failure, arguments included, to where it could not write before.
    """

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def handleError(self, record: logging.LogRecord) -> None:
        """Nowhere to tell."""


class PrettyFormatter(logging.Formatter):
    """For people. Fields that were given as `extra` follow the message as `name=value`."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        extra = "".join(f" {name}={value}" for name, value in _extra(record).items())
        line = f"{time} {record.levelname.lower():<8} {self._role:<10} {record.getMessage()}{extra}"
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
        fields |= _extra(record)
        if lines := _exception_lines(record):
            fields["exception"] = "\n".join(lines)
        return json.dumps(fields, default=str)


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD_FIELDS}


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
