"""Log lines say what happened and never what somebody wrote."""

from __future__ import annotations

import errno
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from llm_server.errors import EngineUnavailable
from llm_server.observability.logging import JsonFormatter, Lines, PrettyFormatter, logging_config
from llm_server.settings import LogFormat

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


def record(**extra: object) -> logging.LogRecord:
    made = logging.LogRecord("llm_server.supervisor", logging.INFO, "", 0, "ready in %d s", (3,), None)
    vars(made).update(extra)
    return made


def test_a_pretty_line_names_level_and_process_and_ends_with_its_fields() -> None:
    words = PrettyFormatter("supervisor").format(record(status=200)).split()
    assert words[1:] == ["info", "supervisor", "ready", "in", "3", "s", "status=200"]


class Full(io.StringIO):
    def write(self, _: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stream", [Full(), closed()])
def test_a_line_that_can_not_be_written_costs_nothing_but_itself(
    stream: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = Lines()
    handler.setStream(stream)
    handler.handle(record(prompt=SECRET))
    assert capsys.readouterr().err == ""


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


@pytest.mark.parametrize("where", ["fail()", "t = threading.Thread(target=fail); t.start(); t.join(); sys.exit(1)"])
def test_what_nothing_catches_is_a_line_without_its_message(where: str) -> None:
    program = f"""
import sys, threading
from llm_server.observability.logging import configure_logging
configure_logging("info", "engine")
def fail():
    raise ValueError("{SECRET}")
{where}
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert SECRET not in result.stderr
    [line] = map(json.loads, result.stderr.splitlines())
    assert (line["level"], line["process"]) == ("critical", "engine")
    assert line["exception"].endswith("builtins.ValueError")
    assert "in fail" in line["exception"]


@pytest.mark.parametrize(
    ("wanted", "is_terminal", "form"),
    [("auto", True, "pretty"), ("auto", False, "json"), ("pretty", False, "pretty"), ("json", True, "json")],
)
def test_the_form_follows_the_setting_and_the_terminal(
    wanted: LogFormat, is_terminal: bool, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    assert logging_config("info", "api", wanted)["handlers"]["stderr"]["formatter"] == form
