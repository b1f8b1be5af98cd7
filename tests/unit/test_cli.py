"""The command line: what it says, what it refuses, and what it runs."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from llm_server import __version__
from llm_server.cli import main


def run(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), **variables}
    command = [sys.executable, "-m", "llm_server", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"llm-server {__version__}\n"


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert {"serve", "bench"} <= set(capsys.readouterr().out.split())


def test_help_of_serve_names_the_variables(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["serve", "--help"])
    text = capsys.readouterr().out
    assert all(variable in text for variable in ("[LLM_HOST]", "[LLM_PORT]", "[LLM_WORKERS]", "[LLM_MODEL_PATH]"))


@pytest.mark.parametrize("arguments", [[], ["fly"], ["serve", "--no-such-option"]])
def test_what_is_no_command_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "usage: llm-server" in capsys.readouterr().err


def refusal(result: subprocess.CompletedProcess[str]) -> str:
    """The one line of a start that was refused."""
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("llm-server: ")
    return line


def test_a_setting_with_a_wrong_value_ends_the_start(tmp_path: Path) -> None:
    assert "LLM_PORT" in refusal(run("serve", "--port", "many", cwd=tmp_path))
    assert "LLM_WORKERS" in refusal(run("serve", cwd=tmp_path, LLM_WORKERS="0"))


def test_a_misspelt_setting_ends_the_start(tmp_path: Path) -> None:
    assert "Did you mean LLM_PORT?" in refusal(run("serve", cwd=tmp_path, LLM_PROT="8080"))


def test_a_missing_key_file_ends_the_start(tmp_path: Path) -> None:
    assert "LLM_API_KEY_FILE" in refusal(run("serve", cwd=tmp_path, LLM_API_KEY_FILE="no-such-file"))


def test_a_folder_for_recordings_that_can_not_be_made_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "LLM_RECORD=file/records: Not a directory" in refusal(run("serve", cwd=tmp_path, LLM_RECORD="file/records"))


def test_a_taken_port_ends_the_start_of_what_is_no_command_but_serves(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"port {port} of 127.0.0.1 is taken" in refusal(run(cwd=tmp_path, LLM_PORT=str(port)))
        assert f"port {port} of 127.0.0.1 is taken" in refusal(
            run("serve", "--port", str(port), cwd=tmp_path, LLM_PORT="1")
        )
