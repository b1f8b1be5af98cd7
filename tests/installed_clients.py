"""Other people's clients, installed into throwaway folders and run there. Nothing of the user's is read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

INSTALL_SECONDS: Final = 300
RUN_SECONDS: Final = 600
"""On two CPU cores the first turn of an agent, up to 16,000 tokens, takes more than a minute."""


@dataclass(frozen=True)
class Sandbox:
    """Where one client lives: an empty home, a working folder, and what was installed."""

    folder: Path
    base_url: str

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def write(self, path: str, text: str) -> None:
        """A file of the home folder. `{base_url}` in it is the server's."""
        target = self.home / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text.replace("{base_url}", self.base_url))

    def run(self, *command: str, **variables: str) -> str:
        """What the command writes to stdout.

        Raises:
            AssertionError: it failed.
        """
        work = self.folder / "work"
        work.mkdir(exist_ok=True)
        variables = {"HOME": str(self.home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"} | variables
        done = subprocess.run(
            command,
            cwd=work,
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
        )
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def with_python_packages(self, *packages: str) -> Path:
        """The `bin` folder of a virtual environment that has them. Without a registry, the test is skipped."""
        uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
        if uv is None:
            pytest.skip("uv is not installed")
        environment = self.folder / "venv"
        _install([uv, "venv", "--quiet", "--python", sys.executable, str(environment)])
        python = environment / "bin" / "python"
        _install([uv, "pip", "install", "--quiet", "--python", str(python), *packages])
        return python.parent

    def with_node_package(self, package: str) -> Path:
        """The folder of the package's commands. Without node or a registry, the test is skipped."""
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("node is not installed")
        prefix = self.folder / "node"
        prefix.mkdir()
        _install([npm, "install", "--prefix", str(prefix), "--no-audit", "--no-fund", "--loglevel=error", package])
        return prefix / "node_modules" / ".bin"


def _install(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=INSTALL_SECONDS
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"can not be installed within {INSTALL_SECONDS} s")
    if done.returncode != 0:
        pytest.skip(f"can not be installed: {' '.join(done.stderr.split())[-300:]}")
