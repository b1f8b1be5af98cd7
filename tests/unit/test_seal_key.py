"""The key of seals: where it comes from, who may read it, and that all who start at once agree on it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from clients import application, settings
from fakes import ScriptedEngine
from llm_server.seal_key import FILE_NAME, KEY_BYTES, read_seal_key
from llm_server.settings import Settings, SettingsError

SERVICE = Path(__file__).parents[2] / "service"
READ = """
import sys
from pathlib import Path
from llm_server.seal_key import read_seal_key
from llm_server.settings import Settings
settings = Settings(_env_file=None, state_dir=sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(read_seal_key(settings).hex())
"""


def of(folder: Path) -> Settings:
    return settings(seal_key=None, state_dir=folder)


def test_the_setting_wins(tmp_path: Path) -> None:
    assert read_seal_key(settings(seal_key="any string, é", state_dir=tmp_path)) == "any string, é".encode()
    assert list(tmp_path.iterdir()) == []


def test_a_key_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "state"
    key = read_seal_key(of(folder))
    assert len(key) == KEY_BYTES
    assert read_seal_key(of(folder)) == key
    assert [path.name for path in folder.iterdir()] == [FILE_NAME]
    assert stat.S_IMODE((folder / FILE_NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_two_folders_have_two_keys(tmp_path: Path) -> None:
    assert read_seal_key(of(tmp_path / "one")) != read_seal_key(of(tmp_path / "two"))


def test_processes_that_start_at_once_agree(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SERVICE)}
    words = [sys.executable, "-c", READ, str(tmp_path / "state")]
    processes = [
        subprocess.Popen(words, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(6)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    keys = {process.communicate()[0] for process in processes}
    assert keys == {read_seal_key(of(tmp_path / "state")).hex() + "\n"}
    assert [path.name for path in (tmp_path / "state").iterdir()] == [FILE_NAME]


@pytest.mark.parametrize("content", [b"", b"short", bytes(KEY_BYTES + 1)])
def test_a_file_that_is_no_key_ends_the_start(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SettingsError, match="no key"):
        read_seal_key(of(tmp_path))


def test_a_key_that_others_may_read_ends_the_start(tmp_path: Path) -> None:
    read_seal_key(of(tmp_path))
    (tmp_path / FILE_NAME).chmod(0o640)
    with pytest.raises(SettingsError, match="0600"):
        read_seal_key(of(tmp_path))


def test_a_link_to_a_key_is_not_followed(tmp_path: Path) -> None:
    read_seal_key(of(tmp_path / "elsewhere"))
    (tmp_path / FILE_NAME).symlink_to(tmp_path / "elsewhere" / FILE_NAME)
    with pytest.raises(SettingsError, match="LLM_SEAL_KEY"):
        read_seal_key(of(tmp_path))


def test_a_folder_that_can_not_be_made_ends_the_start_and_says_what_helps(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="LLM_SEAL_KEY"):
        application(ScriptedEngine(), seal_key=None, state_dir=tmp_path / "file" / "state")


def test_no_refusal_says_the_key(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(b"s3cret" * 10)
    path.chmod(0o600)
    with pytest.raises(SettingsError) as refused:
        read_seal_key(of(tmp_path))
    assert "s3cret" not in str(refused.value)
    assert "s3cret" not in repr(settings(seal_key="s3cret"))
