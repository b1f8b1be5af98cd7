"""The repository as a whole: what it says of itself is true, and what it builds is complete."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from llm_server import __version__

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    (path,) = folder.iterdir()
    return zipfile.ZipFile(path)


def test_the_changelog_begins_with_this_version() -> None:
    versions = re.findall(r"^## \[(\d.*?)\]", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == __version__


def test_the_wheel_holds_every_file_of_the_packages(wheel: zipfile.ZipFile) -> None:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "llm_server", "gpt_oss_tiny"]
    listed = subprocess.run(command, cwd=REPOSITORY / "service", check=True, capture_output=True, text=True)
    assert set(listed.stdout.splitlines()) <= set(wheel.namelist())


def test_the_wheel_holds_what_is_read_at_run_time(wheel: zipfile.ZipFile) -> None:
    needed = {"llm_server/harmony/vocabulary/o200k_base.tiktoken", "gpt_oss_tiny/model/config.json"}
    assert needed <= set(wheel.namelist())


def test_the_wheel_brings_the_command(wheel: zipfile.ZipFile) -> None:
    (entry_points,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "llm-server = llm_server.cli:main" in wheel.read(entry_points).decode()
