"""Models of the Hugging Face Hub: downloaded once, checked, and found again without any network.

What huggingface_hub resumes and caches is left to it. Added are retries with back-off, a check of the disk before and
of every checksum after a download, and the repair of single files. Nothing here knows MLX.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Final, TypeVar

import httpx2
from huggingface_hub import DryRunFileInfo, HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    DryRunError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    XetDownloadError,
)
from huggingface_hub.utils.tqdm import tqdm
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential, wait_random

from llm_server.model_files import DamagedModel, ModelError, read_model_files
from llm_server.model_source import HubRepo

logger = logging.getLogger(__name__)

WANTED: Final = ["model*.safetensors", "model.safetensors.index.json", "config.json", "generation_config.json"]
"""No tokenizer, whose vocabulary the server has itself, no code, and nothing from subfolders: OpenAI's repository has
its weights twice more there."""

_SILENT: Final = partial(tqdm, disable=True)
_WAIT_AT_MOST: Final = 60.0
_RETRIED_STATUSES: Final = frozenset({408, 425, 429})

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Hub:
    """Where models come from and where they are kept; None is huggingface_hub's own (HF_ENDPOINT, HF_HOME).

    `first_wait` in seconds; each further attempt waits twice as long.
    """

    endpoint: str | None = None
    cache: Path | None = None
    attempts: int = 6
    first_wait: float = 1.0

    @property
    def cache_folder(self) -> Path:
        return (self.cache or Path(constants.HF_HUB_CACHE)).expanduser()


def fetch_model(repo: HubRepo, hub: Hub | None = None) -> Path:
    """The folder of a repository's model, whole and checked. A complete one in the cache needs no network.

    Raises:
        ModelError: no such repository, no access, no network, no room, or no gpt-oss.
    """
    try:
        return _fetch(repo, hub or Hub())
    except (OSError, httpx2.HTTPError, XetDownloadError, HFValidationError) as error:
        raise ModelError(f"{repo.repo_id} can not be downloaded: {_explain(error)}") from error


def cached_model(repo: HubRepo, hub: Hub | None = None) -> Path | None:
    """The folder of a repository's model if it is in the cache, perhaps damaged. No network is asked."""
    try:
        return Path(_snapshot(repo, hub or Hub(), local_files_only=True))
    except LocalEntryNotFoundError:
        return None


def _fetch(repo: HubRepo, hub: Hub) -> Path:
    damaged: list[str] = []
    if cached := cached_model(repo, hub):
        try:
            return read_model_files(cached).folder
        except DamagedModel as error:
            logger.warning("%s; fetching it again", error)
            damaged = [name for name in error.files if (cached / name).exists()]
    return read_model_files(_download(repo, hub, damaged)).folder


def _download(repo: HubRepo, hub: Hub, damaged: list[str]) -> Path:
    if damaged:
        _retried(hub, lambda: _snapshot(repo, hub, allow_patterns=damaged, force_download=True))
    needed = _needed_bytes(repo, hub)
    folder = Path(_retried(hub, lambda: _snapshot(repo, hub)))
    if needed or damaged:
        _verify(repo, hub, folder)
        logger.info("Downloaded %s to %s", repo.repo_id, folder)
    return folder


def _needed_bytes(repo: HubRepo, hub: Hub) -> int:
    """Bytes that are not in the cache yet; says so in the log and makes sure that there is room for them."""
    files: list[DryRunFileInfo] = _retried(hub, lambda: _snapshot(repo, hub, dry_run=True, tqdm_class=_SILENT))
    needed = sum(file.file_size or 0 for file in files if file.will_download)
    if not needed:
        return 0
    folder = hub.cache_folder
    folder.mkdir(parents=True, exist_ok=True)
    logger.info("Downloading %s (%.1f GB) to %s", repo.repo_id, needed / 1e9, folder)
    if needed > (free := shutil.disk_usage(folder).free):
        room = f"{needed / 1e9:.1f} GB are needed in {folder} and {free / 1e9:.1f} GB are free"
        raise ModelError(f"{repo.repo_id} can not be downloaded: {room}; make room or set HF_HOME")
    return needed


def _verify(repo: HubRepo, hub: Hub, folder: Path) -> None:
    """Compare every file with the Hub's checksum, once after a download; fetch again what differs, once."""
    if altered := _altered(repo, hub, folder):
        logger.warning("%s arrived altered; fetching again", ", ".join(altered))
        _retried(hub, lambda: _snapshot(repo, hub, allow_patterns=altered, force_download=True))
        if altered := _altered(repo, hub, folder):
            raise ModelError(f"{repo.repo_id}: {altered[0]} arrived altered twice; the network or the disk is bad")


def _altered(repo: HubRepo, hub: Hub, folder: Path) -> list[str]:
    api = HfApi(endpoint=hub.endpoint)
    commit = folder.name
    result = _retried(hub, lambda: api.verify_repo_checksums(repo.repo_id, revision=commit, cache_dir=hub.cache_folder))
    return [mismatch["path"] for mismatch in result.mismatches]


def _snapshot(repo: HubRepo, hub: Hub, **options: Any) -> Any:
    common: dict[str, Any] = {"allow_patterns": WANTED, "tqdm_class": Progress}
    return snapshot_download(
        repo.repo_id,
        revision=repo.revision,
        cache_dir=hub.cache_folder,
        endpoint=hub.endpoint,
        **(common | options),
    )


def _retried(hub: Hub, call: Callable[[], _T]) -> _T:
    retrying = Retrying(
        stop=stop_after_attempt(hub.attempts),
        wait=wait_exponential(multiplier=hub.first_wait, max=_WAIT_AT_MOST) + wait_random(0, hub.first_wait),
        retry=retry_if_exception(_may_pass),
        before_sleep=_log_retry,
        reraise=True,
    )
    return retrying(call)


def _may_pass(error: BaseException) -> bool:
    """Whether the same request may succeed later. A wrong name, a missing permission or a full disk will not pass."""
    match error:
        case OfflineModeIsEnabled():
            return False
        case HfHubHTTPError():
            status = error.response.status_code
            return status in _RETRIED_STATUSES or status >= 500
        case LocalEntryNotFoundError() | DryRunError():
            return error.__cause__ is not None and _may_pass(error.__cause__)
        case httpx2.TransportError() | XetDownloadError() | ConnectionError() | TimeoutError():
            return True
        case OSError():
            return error.errno is None and "Consistency check" in str(error)
        case _:
            return False


def _log_retry(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    wait = state.next_action.sleep if state.next_action else 0.0
    logger.warning("Download interrupted (%s); trying again in %.0f s", _explain(error), wait)


def _explain(error: BaseException | None) -> str:
    match error:
        case GatedRepoError():
            return "access to it has to be granted: accept its terms on the Hub and set HF_TOKEN"
        case RepositoryNotFoundError():
            return "the Hub has no such repository, or HF_TOKEN gives no access to it"
        case RevisionNotFoundError():
            return "the repository has no such revision"
        case OfflineModeIsEnabled():
            return "it is not in the cache and HF_HUB_OFFLINE is set"
        case HfHubHTTPError():
            return f"the Hub answered {error.response.status_code}"
        case LocalEntryNotFoundError() | DryRunError() if error.__cause__ is not None:
            return _explain(error.__cause__)
        case httpx2.TransportError():
            return f"no connection to the Hub ({type(error).__name__})"
        case _:
            return next(iter(str(error).splitlines()), type(error).__name__)


class Progress(tqdm):
    """A bar on a terminal; elsewhere a line in the log every few seconds."""

    seconds_between_lines = 15.0

    def __init__(self, *args: Any, **options: Any) -> None:
        self._is_total = options.get("unit") == "B" and not str(options.get("name")).endswith(".transfer")
        self._received = 0.0
        self._last_line = monotonic()
        options.setdefault("disable", None)
        super().__init__(*args, **options)  # type: ignore[no-untyped-call]

    def update(self, n: float | None = 1) -> bool | None:
        self._received += n or 0
        if self.disable and self._is_total and monotonic() - self._last_line > self.seconds_between_lines:
            self._last_line = monotonic()
            logger.info("Downloaded %.1f of %.1f GB", self._received / 1e9, (self.total or 0) / 1e9)
        shown: bool | None = super().update(n)
        return shown
