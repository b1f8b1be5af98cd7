"""Every query of every panel, asked of a real Prometheus that scrapes a real server under load, without containers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from board_queries import unanswered
from docker_engine import free_port, missing_engine
from running_server import RunningServer, launched

CONFIGURATION = Path(__file__).parents[2] / "monitoring" / "prometheus"
STOP_SECONDS = 30


@contextmanager
def running(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


@contextmanager
def prometheus(folder: Path, server: RunningServer) -> Iterator[str]:
    """A Prometheus with the repository's configuration, in which this server has the place of the machine's."""
    shutil.copytree(CONFIGURATION / "rules", folder / "rules")
    (folder / "key").write_text("none")
    text = (CONFIGURATION / "prometheus.yml").read_text()
    text = text.replace("/run/secrets/llm_api_key", str(folder / "key"))
    text = text.replace("host.docker.internal:42002", server.base_url.removeprefix("http://"))
    (folder / "prometheus.yml").write_text(text)
    address = f"127.0.0.1:{free_port()}"
    options = (f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data")
    with running("prometheus", *options, f"--web.listen-address={address}", "--enable-feature=exemplar-storage"):
        yield f"http://{address}"


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed")
@pytest.mark.skipif(not missing_engine(), reason="a Docker engine answers, so the tests of containers see this")
def test_every_panel_of_every_board_has_data(tmp_path: Path) -> None:
    with launched(tmp_path, LLM_CANARY_INTERVAL="2") as server, prometheus(tmp_path, server) as address:
        server.wait_until_ready()
        load = ("-m", "llm_server.demo", "--url", server.base_url, "--streams", "2", "--pause", "3")
        with running(sys.executable, *load):
            assert unanswered(address, seconds=180) == []
