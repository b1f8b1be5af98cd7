"""What is kept of responses: for how long, how much, and who can read it; and that a full disk costs no answer."""

from __future__ import annotations

import asyncio
import json
import resource
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from llm_server.errors import StoreUnavailable
from llm_server.response_store import FILE_NAME, Limits, ResponseStore, Stored

PLENTY = Limits(1000, 1_000_000, 1000)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def stored(name: str, previous: str | None = None, *, text: str = "Hello") -> Stored:
    asked = [{"id": f"msg_in_{name}", "type": "message", "role": "user", "content": text}]
    answered: dict[str, Any] = {"id": name, "output": [{"id": f"msg_out_{name}", "type": "message", "content": "Hi"}]}
    return Stored(name, previous, asked, answered)


def store(folder: Path, limits: Limits = PLENTY, clock: Clock | None = None) -> ResponseStore:
    return ResponseStore(folder / "state" / FILE_NAME, limits, clock or Clock())


def files(folder: Path) -> dict[str, int]:
    """All that is below the folder, with its mode."""
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}


def contents(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def names(kept: ResponseStore, *wanted: str) -> list[str]:
    return [name for name in wanted if await kept.find(name) is not None]


async def test_nothing_is_made_before_something_is_stored(tmp_path: Path) -> None:
    kept = store(tmp_path)
    assert await kept.find("resp_1") is None
    assert await kept.chain("resp_1") == []
    assert await kept.items(["msg_1"]) == {}
    assert not await kept.delete("resp_1")
    await kept.tidy()
    assert files(tmp_path) == {}


def test_what_is_stored_is_found_again_in_another_process(tmp_path: Path) -> None:
    assert asyncio.run(store(tmp_path).save(stored("resp_1", text="Grüße 😀")))
    program = (
        "import asyncio, json, sys; from pathlib import Path; from llm_server.response_store import *\n"
        "kept = ResponseStore(Path(sys.argv[1]), Limits(9, 9000, 9))\n"
        "print(json.dumps(list(asyncio.run(kept.find('resp_1')).items)))"
    )
    path = tmp_path / "state" / FILE_NAME
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == list(stored("resp_1", text="Grüße 😀").items)


async def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    kept = store(tmp_path)
    await kept.save(stored("resp_1"))
    modes = {"state": 0o700, FILE_NAME: 0o600, f"{FILE_NAME}-wal": 0o600, f"{FILE_NAME}-shm": 0o600}
    assert files(tmp_path) == modes


async def test_a_store_that_was_closed_is_one_file_and_can_be_used_on(tmp_path: Path) -> None:
    kept = store(tmp_path)
    await kept.save(stored("resp_1"))
    kept.close()
    assert set(files(tmp_path)) == {"state", FILE_NAME}
    assert await names(kept, "resp_1") == ["resp_1"]
    kept.close()


async def test_a_chain_is_what_led_to_a_response(tmp_path: Path) -> None:
    kept = store(tmp_path)
    for name, previous in (("resp_1", None), ("resp_2", "resp_1"), ("resp_3", "resp_2"), ("resp_2b", "resp_1")):
        await kept.save(stored(name, previous))
    assert [each.id for each in await kept.chain("resp_3")] == ["resp_1", "resp_2", "resp_3"]
    assert [each.id for each in await kept.chain("resp_2b")] == ["resp_1", "resp_2b"]
    assert [item["id"] for item in (await kept.chain("resp_2"))[1].items] == ["msg_in_resp_2", "msg_out_resp_2"]


async def test_a_chain_with_a_missing_link_is_none(tmp_path: Path) -> None:
    kept = store(tmp_path)
    for name, previous in (("resp_1", None), ("resp_2", "resp_1"), ("resp_3", "resp_2")):
        await kept.save(stored(name, previous))
    assert await kept.delete("resp_2")
    assert await kept.chain("resp_3") == []
    assert await names(kept, "resp_1", "resp_2", "resp_3") == ["resp_1", "resp_3"]


async def test_a_circle_has_no_beginning(tmp_path: Path) -> None:
    kept = store(tmp_path)
    await kept.save(stored("resp_1", "resp_2"))
    await kept.save(stored("resp_2", "resp_1"))
    assert await kept.chain("resp_1") == []


async def test_items_are_found_by_their_ids(tmp_path: Path) -> None:
    kept = store(tmp_path)
    await kept.save(stored("resp_1"))
    await kept.save(stored("resp_2"))
    found = await kept.items(["msg_out_resp_1", "msg_in_resp_2", "msg_unknown"])
    assert {name: item["content"] for name, item in found.items()} == {"msg_out_resp_1": "Hi", "msg_in_resp_2": "Hello"}


async def test_what_is_deleted_is_in_no_byte_of_the_files(tmp_path: Path) -> None:
    kept = store(tmp_path)
    await kept.save(stored("resp_1", text="zebra " * 1000))
    await kept.save(stored("resp_2"))
    assert b"zebra" in contents(tmp_path)
    assert await kept.delete("resp_1")
    assert not await kept.delete("resp_1")
    assert await kept.items(["msg_in_resp_1"]) == {}
    assert b"zebra" not in contents(tmp_path)


async def test_what_was_used_the_longest_ago_goes_first(tmp_path: Path) -> None:
    clock = Clock()
    kept = store(tmp_path, Limits(3, 1_000_000, 1000), clock)
    for name in ("resp_1", "resp_2", "resp_3"):
        clock.now += 1
        await kept.save(stored(name))
    clock.now += 1
    assert await kept.find("resp_1") is not None
    clock.now += 1
    await kept.save(stored("resp_4"))
    assert await names(kept, "resp_1", "resp_2", "resp_3", "resp_4") == ["resp_1", "resp_3", "resp_4"]
    assert await kept.items(["msg_in_resp_2"]) == {}


async def test_a_chain_that_is_used_stays_whole(tmp_path: Path) -> None:
    clock = Clock()
    kept = store(tmp_path, Limits(4, 1_000_000, 1000), clock)
    await kept.save(stored("resp_1"))
    for number in range(2, 9):
        clock.now += 1
        await kept.save(stored(f"other_{number}"))
        clock.now += 1
        assert len(await kept.chain("resp_1")) == 1


async def test_bytes_are_bounded(tmp_path: Path) -> None:
    clock = Clock()
    kept = store(tmp_path, Limits(1000, 5000, 1000), clock)
    for number in range(5):
        clock.now += 1
        assert await kept.save(stored(f"resp_{number}", text="x" * 1500))
    assert await names(kept, *(f"resp_{number}" for number in range(5))) == ["resp_2", "resp_3", "resp_4"]


async def test_one_that_is_too_large_is_not_stored_and_drives_nothing_out(tmp_path: Path) -> None:
    kept = store(tmp_path, Limits(1000, 5000, 1000))
    assert await kept.save(stored("resp_1"))
    assert not await kept.save(stored("resp_2", text="x" * 5000))
    assert await names(kept, "resp_1", "resp_2") == ["resp_1"]


async def test_what_nobody_uses_grows_too_old(tmp_path: Path) -> None:
    clock = Clock()
    kept = store(tmp_path, Limits(1000, 5000, 60), clock)
    await kept.save(stored("resp_1"))
    await kept.save(stored("resp_2"))
    clock.now += 50
    await kept.find("resp_2")
    clock.now += 50
    await kept.save(stored("resp_3"))
    assert await names(kept, "resp_1", "resp_2", "resp_3") == ["resp_2", "resp_3"]


@pytest.mark.parametrize(
    ("limits", "left"),
    [
        (PLENTY, ["resp_1", "resp_2", "resp_3"]),
        (Limits(2, 1_000_000, 1000), ["resp_2", "resp_3"]),
        (Limits(1000, 400, 1000), ["resp_3"]),
        (Limits(1000, 1_000_000, 5), ["resp_3"]),
        (Limits(0, 1_000_000, 1000), []),
    ],
)
async def test_what_lower_limits_do_not_allow_any_more_is_in_no_byte_of_the_files(
    tmp_path: Path, limits: Limits, left: list[str]
) -> None:
    clock = Clock()
    earlier = store(tmp_path, PLENTY, clock)
    for number in range(1, 4):
        clock.now += 10
        await earlier.save(stored(f"resp_{number}", text=f"zebra {number} " * 10))
    await store(tmp_path, limits, clock).tidy()
    assert await names(earlier, "resp_1", "resp_2", "resp_3") == left
    assert [f"resp_{number}" for number in range(1, 4) if b"zebra %d" % number in contents(tmp_path)] == left


async def test_no_responses_means_none(tmp_path: Path) -> None:
    kept = store(tmp_path, Limits(0, 5000, 60))
    assert not kept.is_open
    assert not await kept.save(stored("resp_1"))
    assert files(tmp_path) == {}


@contextmanager
def smallest_files(size: int) -> Iterator[None]:
    """No file can be written beyond this many bytes: what a full disk is to a program."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_is_logged_and_nothing_is_raised(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = store(tmp_path)
    assert await kept.save(stored("resp_1"))
    with smallest_files(64 * 1024):
        assert not await kept.save(stored("resp_2", text="zebra " * 20_000))
        assert await names(kept, "resp_1", "resp_2") == ["resp_1"]
    assert await kept.save(stored("resp_3"))
    assert await names(kept, "resp_1", "resp_2", "resp_3") == ["resp_1", "resp_3"]
    assert len(caplog.records) == 1
    assert "could not be stored" in caplog.text
    assert "SQLITE_IOERR_WRITE" in caplog.text
    assert "zebra" not in caplog.text


@pytest.mark.parametrize("obstacle", ["folder in its place", "no database", "link"])
async def test_a_file_that_is_none_of_ours_is_left_alone(
    tmp_path: Path, obstacle: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state" / FILE_NAME
    path.parent.mkdir()
    other = tmp_path / "other"
    match obstacle:
        case "folder in its place":
            path.mkdir()
        case "no database":
            path.write_bytes(b"not a database at all" * 100)
        case "link":
            path.symlink_to(other)
    assert not await store(tmp_path).save(stored("resp_1"))
    assert not other.exists()
    if obstacle == "no database":
        assert path.read_bytes().startswith(b"not a database")
        for use in (store(tmp_path).find, store(tmp_path).chain, store(tmp_path).delete):
            with pytest.raises(StoreUnavailable):
                await use("resp_1")
        await store(tmp_path).tidy()
        assert caplog.text.count("SQLITE_NOTADB") == 5
        assert caplog.text.count(str(path)) == 5


async def test_many_writers_of_several_stores_do_not_lose_anything(tmp_path: Path) -> None:
    stores = [store(tmp_path) for _ in range(4)]
    saved = await asyncio.gather(*(stores[number % 4].save(stored(f"resp_{number}")) for number in range(40)))
    assert all(saved)
    assert len(await names(stores[0], *(f"resp_{number}" for number in range(40)))) == 40


async def test_a_new_file_that_another_worker_is_still_making_is_waited_for(tmp_path: Path) -> None:
    """SQLite itself does not wait for a file that is not in WAL mode yet."""
    kept = store(tmp_path)
    path = tmp_path / "state" / FILE_NAME
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as maker:
        maker.execute("BEGIN IMMEDIATE")
        saving = asyncio.create_task(kept.save(stored("resp_1")))
        done, _ = await asyncio.wait({saving}, timeout=0.2)
        assert not done
        maker.execute("COMMIT")
    assert await saving
