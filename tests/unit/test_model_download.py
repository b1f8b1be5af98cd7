"""A model is downloaded once, survives a bad network, and needs none when it is there: the real client, a local Hub."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub_server import COMMIT, REPO, HubServer, hub_server
from llm_server.model_download import Hub, fetch_model
from llm_server.model_files import ModelError, read_model_files
from llm_server.model_source import HubRepo
from model_folders import layer, safetensors, two_shards

SHARD = "model-00002-of-00002.safetensors"
UNWANTED = {"tokenizer.json": b"{}", "model.py": b"", "original/model.safetensors": b"x", "README.md": b""}


@pytest.fixture
def server() -> Iterator[HubServer]:
    with hub_server(two_shards() | UNWANTED) as running:
        yield running


@pytest.fixture
def hub(server: HubServer, tmp_path: Path) -> Hub:
    return Hub(server.endpoint, tmp_path, attempts=3, first_wait=0.001)


def _fault(repo: HubRepo, hub: Hub) -> str:
    with pytest.raises(ModelError) as caught:
        fetch_model(repo, hub)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_only_weights_and_configuration_are_downloaded(server: HubServer, hub: Hub) -> None:
    folder = fetch_model(HubRepo(REPO), hub)
    assert sorted(server.downloads) == sorted(two_shards())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == two_shards()


def test_a_second_start_needs_no_network(server: HubServer, hub: Hub) -> None:
    folder = fetch_model(HubRepo(REPO), hub)
    server.requests.clear()
    assert fetch_model(HubRepo(REPO), hub) == folder
    assert server.requests == []


@pytest.mark.parametrize("revision", ["v1.2", COMMIT])
def test_a_pinned_revision_is_downloaded(server: HubServer, hub: Hub, revision: str) -> None:
    server.revision = "v1.2"
    assert fetch_model(HubRepo(REPO, revision), hub).name == COMMIT


def test_failures_of_the_server_are_retried(server: HubServer, hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    server.refusals = [503, 500]
    with caplog.at_level(logging.WARNING, "llm_server"):
        read_model_files(fetch_model(HubRepo(REPO), hub))
    assert "trying again" in caplog.text
    assert server.refusals == []


def test_a_download_that_was_interrupted_goes_on_where_it_was(server: HubServer, hub: Hub) -> None:
    """The client keeps what it has every 10 MiB, so the file has to be larger than that."""
    server.files[SHARD] = safetensors(layer(1) | {"model.layers.1.mlp.router.weight": [6_000_000]})
    server.cut = {SHARD: 1}
    folder = fetch_model(HubRepo(REPO), hub)
    assert server.ranges == [f"bytes={10 * 2**20}-"]
    assert (folder / SHARD).read_bytes() == server.files[SHARD]


def test_what_its_maker_recommends_comes_with_it(server: HubServer, hub: Hub) -> None:
    server.files["generation_config.json"] = b'{"temperature": 0.6}'
    assert read_model_files(fetch_model(HubRepo(REPO), hub)).defaults.temperature == 0.6


def test_a_missing_shard_alone_is_fetched_again(server: HubServer, hub: Hub) -> None:
    folder = fetch_model(HubRepo(REPO), hub)
    (folder / SHARD).resolve().unlink()
    (folder / SHARD).unlink()
    server.requests.clear()
    read_model_files(fetch_model(HubRepo(REPO), hub))
    assert server.downloads == [SHARD]


def test_a_cut_off_shard_alone_is_fetched_again(server: HubServer, hub: Hub) -> None:
    folder = fetch_model(HubRepo(REPO), hub)
    blob = (folder / SHARD).resolve()
    blob.write_bytes(blob.read_bytes()[:-4])
    server.requests.clear()
    read_model_files(fetch_model(HubRepo(REPO), hub))
    assert server.downloads == [SHARD]


def test_a_file_that_arrives_altered_is_fetched_again(server: HubServer, hub: Hub) -> None:
    server.altered = {SHARD: 1}
    folder = fetch_model(HubRepo(REPO), hub)
    assert (folder / SHARD).read_bytes() == two_shards()[SHARD]


def test_a_file_that_always_arrives_altered_is_given_up(server: HubServer, hub: Hub) -> None:
    server.altered = {SHARD: 9}
    assert f"{SHARD} arrived altered twice" in _fault(HubRepo(REPO), hub)


@pytest.mark.parametrize(
    ("repo", "words"),
    [(HubRepo("someone/else"), "no such repository"), (HubRepo(REPO, "nowhere"), "no such revision")],
)
def test_what_does_not_exist_is_not_retried(server: HubServer, hub: Hub, repo: HubRepo, words: str) -> None:
    assert words in _fault(repo, hub)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_not_retried(server: HubServer, hub: Hub, status: int) -> None:
    server.status = status
    assert _fault(HubRepo(REPO), hub).startswith(f"{REPO} can not be downloaded: ")
    assert len(server.requests) == 1


def test_a_hub_that_stays_down_is_given_up(server: HubServer, hub: Hub) -> None:
    server.status = 503
    assert _fault(HubRepo(REPO), hub) == f"{REPO} can not be downloaded: the Hub answered 503"
    assert len(server.requests) >= hub.attempts


def test_no_network_and_no_cache_is_one_line(tmp_path: Path) -> None:
    unreachable = Hub("http://127.0.0.1:1", tmp_path, attempts=2, first_wait=0.001)
    assert "no connection to the Hub" in _fault(HubRepo(REPO), unreachable)


def test_a_name_that_no_repository_can_have_is_one_line(tmp_path: Path) -> None:
    assert "can not be downloaded" in _fault(HubRepo("some--one/model"), Hub(cache=tmp_path))


def test_another_kind_of_model_is_refused(server: HubServer, hub: Hub) -> None:
    server.files["config.json"] = b'{"model_type": "llama"}'
    assert "type 'llama'" in _fault(HubRepo(REPO), hub)
