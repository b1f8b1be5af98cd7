"""Prompts and answers as token ids, written to files for `llm-server explain`. Off unless `LLM_RECORD` names a folder.

This is the one place where tokens of analysis are stored, so the folder is its owner's alone. A disk that is full or
gone costs recordings and never a request.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Record:
    """One request. `tokens` follow the prompt; `truncated` says that no stop token ended them. `stop`: its strings.

    `freeform` are those of the tools whose input is no JSON. `unframed`: the prompt may break off anywhere.
    """

    request_id: str
    tools: Sequence[str]
    prompt: Sequence[int] = field(repr=False)
    tokens: Sequence[int] = field(repr=False)
    truncated: bool = False
    freeform: Collection[str] = ()
    unframed: bool = False
    stop: Sequence[str] = field(default=(), repr=False)


class Recordings:
    """JSON lines in one file a process."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"requests-{os.getpid()}.jsonl"
        self.lost = 0
        logger.warning("LLM_RECORD: every prompt and answer, analysis included, is written to %s", folder)

    def write(self, record: Record) -> None:
        """Append a line that `llm-server explain` reads."""
        line = json.dumps(
            {
                "request_id": record.request_id,
                "tools": [_described(tool, record.freeform) for tool in record.tools],
                "truncated": record.truncated,
                "unframed": record.unframed,
                "stop": list(record.stop),
                "prompt": list(record.prompt),
                "tokens": list(record.tokens),
            }
        )
        try:
            make_private(self.path.parent)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with open(descriptor, "a", encoding="ascii") as file:
                file.write(line + "\n")
        except OSError as error:
            self.lost += 1
            logger.error("LLM_RECORD: a request could not be written: %s", error.strerror)


def make_private(folder: Path) -> None:
    """Make the folder, or make it its owner's alone.

    Raises:
        OSError: it can not be made, or is somebody else's.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)


def _described(tool: str, freeform: Collection[str]) -> str | dict[str, str]:
    return {"type": "custom", "name": tool} if tool in freeform else tool
