"""A copy of a model folder for mlx_lm.server, which needs a tokenizer and a chat template in it.

The template writes what this server's own rendering writes, so that both read the same prompt.
"""

from __future__ import annotations

import base64
import json
import os
from datetime import date
from pathlib import Path
from typing import Any, Final

from llm_server.conversation import Conversation, Instructions, UserText
from llm_server.harmony.encoding import FIRST_SPECIAL, PIECE, STOP_TOKENS, VOCABULARY_FOLDER, harmony_encoding
from llm_server.harmony.render import render
from llm_server.model_files import ModelFiles

LAST_SPECIAL: Final = 200_018

_EMBEDDED_MODEL: Final = '''\
import mlx.core as mx
from llm_server.engine import reduced_vocabulary
from llm_server.engine.cpu import for_cpu
from llm_server.engine.reduced_vocabulary import ModelArgs


class Model(reduced_vocabulary.Model):
    """Prepared for a CPU as this server prepares it: the servers are compared, not the preparation."""

    def load_weights(self, file_or_weights, strict=True):
        super().load_weights(file_or_weights, strict)
        return for_cpu(self) if mx.default_device() == mx.cpu else self
'''


def write_reference_folder(files: ModelFiles, folder: Path) -> Path:
    """Write the copy; its weights are links to the original's."""
    folder.mkdir(parents=True)
    for path in files.folder.glob("model*"):
        (folder / path.name).symlink_to(path.resolve())
    (folder / "config.json").write_text(json.dumps(_config(files, folder)))
    _write_tokenizer(folder)
    return folder


def _config(files: ModelFiles, folder: Path) -> dict[str, Any]:
    config = dict(files.config) | {"eos_token_id": list(STOP_TOKENS)}
    if "reduced_vocabulary" in config:
        (folder / "embedded_model.py").write_text(_EMBEDDED_MODEL)
        config["model_file"] = "embedded_model.py"
    return config


def _write_tokenizer(folder: Path) -> None:
    # Imported here because it takes seconds, and nothing else of the bench needs it.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    from tokenizers import AddedToken
    from transformers import PreTrainedTokenizerFast
    from transformers.convert_slow_tokenizer import TikTokenConverter

    class Converter(TikTokenConverter):
        load_tiktoken_bpe = staticmethod(_ranks)

    vocabulary = VOCABULARY_FOLDER / "o200k_base.tiktoken"
    tokenizer = Converter(str(vocabulary), pattern=PIECE).converted()  # type: ignore[no-untyped-call]
    names = [str(harmony_encoding().decode([token])) for token in range(FIRST_SPECIAL, LAST_SPECIAL + 1)]
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, eos_token="<|return|>", pad_token="<|endoftext|>"
    )
    fast.chat_template = _chat_template()
    fast.save_pretrained(folder)


def _ranks(tiktoken_url: str) -> dict[bytes, int]:
    """Without this, the converter asks for the `tiktoken` package to read the same lines."""
    lines = (line.split() for line in Path(tiktoken_url).read_bytes().splitlines())
    return {base64.b64decode(token): int(rank) for token, rank in lines}


def _chat_template() -> str:
    conversation = Conversation((Instructions("INSTRUCTIONS"), UserText("QUESTION")), today=date.today())
    text = str(harmony_encoding().decode(render(conversation).tokens))
    instructions, question = "{{ messages[0]['content'] }}", "{{ messages[1]['content'] }}"
    return text.replace("INSTRUCTIONS", instructions).replace("QUESTION", question)
