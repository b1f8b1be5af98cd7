"""A child process ends when it should, with all that it has started."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from llm_server.child_process import Child, describe_exit
from processes import is_running, wait_until

PARENT = """
import asyncio, os, sys
from llm_server.child_process import Child

async def main():
    child = await Child.start([sys.executable, "-c", sys.argv[1]], os.environ)
    print(child.pid, flush=True)
    await child.wait()

asyncio.run(main())
"""

CHILD = """
import os, signal, subprocess, sys, time
from llm_server.child_process import end_with_parent

end_with_parent()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(grandchild.pid, flush=True)
time.sleep(600)
"""


async def start(program: str, tmp_path: Path) -> tuple[Child, int]:
    """A child, once it has written a number to its standard output, and that number."""
    path = tmp_path / "number"
    child = await Child.start(
        [sys.executable, "-c", f"import sys; sys.stdout = open({str(path)!r}, 'w')\n{program}"], os.environ
    )
    await asyncio.to_thread(wait_until, lambda: path.exists() and path.read_text().endswith("\n"))
    return child, int(path.read_text())


def test_a_child_and_what_it_started_end_when_the_parent_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, CHILD], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        family = {int(parent.stdout.readline()), int(parent.stdout.readline())}
        assert all(is_running(pid) for pid in family)
        parent.send_signal(signal.SIGKILL)
    wait_until(lambda: not any(is_running(pid) for pid in family))


async def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    child, grandchild = await start(CHILD, tmp_path)
    assert await child.stop(0.1) == -signal.SIGKILL
    assert child not in Child.running
    await asyncio.to_thread(wait_until, lambda: not is_running(grandchild))


async def test_a_child_that_obeys_sigterm_ends_by_itself(tmp_path: Path) -> None:
    obedient = (
        "import os, signal, sys, time; signal.signal(15, lambda *_: sys.exit(5)); print(1, flush=True); time.sleep(600)"
    )
    child, _ = await start(obedient, tmp_path)
    assert await child.stop(30) == 5


async def test_what_a_child_started_ends_with_it(tmp_path: Path) -> None:
    child, grandchild = await start(CHILD, tmp_path)
    os.kill(child.pid, signal.SIGKILL)
    assert await child.wait() == -signal.SIGKILL
    await asyncio.to_thread(wait_until, lambda: not is_running(grandchild))


async def test_a_child_is_out_of_reach_of_the_terminal(tmp_path: Path) -> None:
    child, session = await start("import os, time; print(os.getsid(0), flush=True); time.sleep(600)", tmp_path)
    assert session == child.pid != os.getsid(0)
    await child.stop(30)


@pytest.mark.parametrize(
    ("code", "words"),
    [(0, "exit code 0"), (78, "exit code 78"), (-9, "SIGKILL"), (-6, "SIGABRT"), (-200, "signal 200")],
)
def test_exits_are_described(code: int, words: str) -> None:
    assert describe_exit(code) == words
