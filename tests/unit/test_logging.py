"""Log lines say what happened and never what somebody wrote."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from llm_server.errors import EngineUnavailable
from llm_server.observability.logging import AccessLines, JsonFormatter, ReadableFormatter, logging_config

SECRET = "the user's secret"


class Form(BaseModel):
    number: int


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What a logger named `trial` writes, as JSON."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter("api"))
    logger = logging.getLogger("trial")
    logger.addHandler(handler)
    logger.propagate = False
    yield written
    logger.removeHandler(handler)


def log_exception(error: Exception) -> None:
    try:
        raise error
    except Exception:
        logging.getLogger("trial").exception("it failed")


def validation_error() -> Exception:
    try:
        Form(number=SECRET)
    except ValueError as error:
        return error
    raise AssertionError


def test_a_line_is_one_json_object_with_its_extra_fields(stream: io.StringIO) -> None:
    logging.getLogger("trial").warning("two\nlines for %s", "you", extra={"request_id": "req-1"})
    (line,) = stream.getvalue().splitlines()
    fields = json.loads(line)
    assert fields.pop("time").endswith("+00:00")
    assert isinstance(fields.pop("pid"), int)
    assert fields == {
        "level": "warning",
        "process": "api",
        "logger": "trial",
        "message": "two\nlines for you",
        "request_id": "req-1",
    }


def nested() -> Exception:
    chained = RuntimeError("ours")
    chained.__cause__ = validation_error()
    return ExceptionGroup(SECRET, [chained, KeyError(SECRET)])


@pytest.mark.parametrize("error", [validation_error(), KeyError(SECRET), ValueError(SECRET), nested()])
def test_foreign_exceptions_are_logged_without_their_messages(stream: io.StringIO, error: Exception) -> None:
    assert SECRET in repr(error) or isinstance(error, ExceptionGroup)
    log_exception(error)
    exception = json.loads(stream.getvalue())["exception"]
    assert SECRET not in exception
    assert type(error).__name__ in exception
    assert "in log_exception" in exception, "where it was raised"


def test_what_an_exception_came_from_is_logged(stream: io.StringIO) -> None:
    log_exception(nested())
    exception = json.loads(stream.getvalue())["exception"]
    assert all(name in exception for name in ("pydantic_core", "RuntimeError: ours", "builtins.KeyError"))


@pytest.mark.parametrize(
    "error", [EngineUnavailable("the engine is loading"), FileNotFoundError(2, "No such file", "a.bin")]
)
def test_exceptions_of_ours_and_of_the_system_keep_their_messages(stream: io.StringIO, error: Exception) -> None:
    log_exception(error)
    assert str(error) in json.loads(stream.getvalue())["exception"]


def access_record(path: str) -> logging.LogRecord:
    arguments = ("127.0.0.1:1", "GET", path, "1.1", 200)
    return logging.LogRecord("uvicorn.access", logging.INFO, "", 0, '%s - "%s %s HTTP/%s" %d', arguments, None)


def test_probes_have_no_access_lines() -> None:
    assert not AccessLines().filter(access_record("/livez"))
    assert not AccessLines().filter(access_record("/metrics?name=x"))


def test_access_lines_have_no_query() -> None:
    record = access_record(f"/v1/models?after={SECRET}")
    assert AccessLines().filter(record)
    assert record.getMessage() == '127.0.0.1:1 - "GET /v1/models HTTP/1.1" 200'


def test_a_readable_line_names_level_and_process() -> None:
    record = logging.LogRecord("llm_server.supervisor", logging.INFO, "", 0, "ready in %d s", (3,), None)
    assert ReadableFormatter("supervisor").format(record).split()[1:] == ["info", "supervisor", "ready", "in", "3", "s"]


@pytest.mark.parametrize(("level", "lines"), [("debug", 3), ("info", 2), ("error", 0)])
def test_other_libraries_speak_from_a_warning_on(level: str, lines: int) -> None:
    program = f"""
import logging
from llm_server.observability.logging import configure_logging
configure_logging("{level}", "engine")
logging.getLogger("llm_server.engine").debug("ours")
logging.getLogger("llm_server.engine").info("ours")
logging.getLogger("httpcore").info("theirs")
logging.getLogger("httpcore").warning("heard")
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    messages = [json.loads(line)["message"] for line in result.stderr.splitlines()]
    assert len(messages) == lines
    assert "theirs" not in messages


@pytest.mark.parametrize(("readable", "form"), [(True, "readable"), (False, "json")])
def test_the_form_follows_the_terminal(readable: bool, form: str) -> None:
    assert logging_config("info", "api", readable=readable)["handlers"]["stderr"]["formatter"] == form
