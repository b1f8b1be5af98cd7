"""How the application comes to be: what importing it costs, and what a server program gets as `app`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clients import application, settings
from fakes import ScriptedEngine
from llm_server.server import create_app
from llm_server.settings import SettingsError

SERVICE = Path(__file__).parents[2] / "service"


def run(program: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(SERVICE)} | variables
    return subprocess.run([sys.executable, "-c", program], env=environment, cwd=folder, capture_output=True, text=True)


def test_importing_the_module_reads_no_environment(tmp_path: Path) -> None:
    done = run("from llm_server.server import create_app; print('fine')", tmp_path, LLM_PROT="1")
    assert (done.returncode, done.stdout) == (0, "fine\n")


def test_app_is_made_from_the_environment_and_once(tmp_path: Path) -> None:
    program = "from llm_server import server; print(server.app is server.app, server.app.title)"
    done = run(program, tmp_path, LLM_PORT="8000")
    assert (done.returncode, done.stdout) == (0, "True llm-server\n"), done.stderr


def test_a_wrong_setting_ends_the_start_with_one_line(tmp_path: Path) -> None:
    done = run("from llm_server.server import app", tmp_path, LLM_PROT="1")
    assert done.returncode == 2
    assert done.stderr == "llm-server: LLM_PROT is no setting of this server. Did you mean LLM_PORT?\n"


def test_a_key_file_that_is_missing_is_found_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="LLM_API_KEY_FILE"):
        create_app(settings(api_key_file=tmp_path / "none"), ScriptedEngine())


async def test_the_application_starts_and_stops_on_a_given_engine() -> None:
    app = application(ScriptedEngine())
    async with app.router.lifespan_context(app):
        assert app.state.services.engine.status is not None
