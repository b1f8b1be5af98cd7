"""What is deployed by scripts: the agent of macOS, and the demonstration's script."""

from __future__ import annotations

import plistlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


def service(root: Path, command: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/Users/somebody", **variables}
    script = root / "deploy" / "launchd" / "service.sh"
    return subprocess.run([script, command], env=environment, capture_output=True, check=False, timeout=60)


@pytest.fixture(params=["plain", 'with spaces, & ampersands, <brackets> and | "others"'])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A checkout in a folder of this name."""
    folder = tmp_path / str(request.param)
    shutil.copytree(REPOSITORY / "deploy" / "launchd", folder / "deploy" / "launchd")
    return folder


def test_the_agent_of_macos(root: Path) -> None:
    agent = plistlib.loads(service(root, "print").stdout)
    assert agent["Label"] == "local.llm-server"
    assert agent["ProgramArguments"] == [f"{root}/.venv/bin/llm-server", "serve"]
    assert agent["WorkingDirectory"] == str(root)
    assert agent["KeepAlive"]
    assert agent["RunAtLoad"]
    assert agent["StandardErrorPath"] == "/Users/somebody/Library/Logs/llm-server/llm-server.log"
    assert agent["ExitTimeOut"] > 30 + 5 + 2


@pytest.mark.skipif(sys.platform == "darwin", reason="a Mac would really install it")
@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_elsewhere_it_says_what_to_do_instead(command: str) -> None:
    done = service(REPOSITORY, command)
    assert done.returncode == 1
    assert b"deploy/README.md" in done.stderr


def test_what_is_no_command_is_refused() -> None:
    assert service(REPOSITORY, "fly").returncode == 2


@pytest.mark.parametrize("script", ["deploy/demo.sh", "deploy/launchd/service.sh", ".ci/run"])
def test_scripts_can_be_run(script: str) -> None:
    path = REPOSITORY / script
    assert path.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", path], check=True, timeout=60)
