"""The vocabulary is the one gpt-oss was trained with, is there without a network, and text stays text."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_server.harmony import encoding
from llm_server.harmony.encoding import VocabularyError, encode, harmony_encoding, is_special, token_bytes

MARKERS = ["<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|constrain|>", "<|call|>", "<|return|>"]
MARKED_TEXT = st.lists(st.one_of(st.sampled_from([*MARKERS, "<|endoftext|>", "<|reserved_200014|>"]), st.text())).map(
    "".join
)
FRAGMENTS = [
    "word",
    " word",
    "'LL",
    "  ",
    "\n\n",
    "\t",
    ".",
    "。",
    "émoji",
    "🧑‍🚀",
    "12345",
    "____",
    "ÄÖ",
    "x" * 300,
    "日本語",
]
SENTENCE = st.lists(st.sampled_from(FRAGMENTS), max_size=3).map(lambda fragments: "".join([*fragments, " word"]))
LONG_TEXT = st.lists(SENTENCE, min_size=200, max_size=400).map(" ".join)


@pytest.mark.parametrize(
    ("token", "marker"),
    [
        (encoding.START, "<|start|>"),
        (encoding.END, "<|end|>"),
        (encoding.MESSAGE, "<|message|>"),
        (encoding.CHANNEL, "<|channel|>"),
        (encoding.CONSTRAIN, "<|constrain|>"),
        (encoding.CALL, "<|call|>"),
        (encoding.RETURN, "<|return|>"),
        (encoding.END_OF_TEXT, "<|endoftext|>"),
    ],
)
def test_the_named_tokens_are_the_librarys(token: int, marker: str) -> None:
    assert harmony_encoding().encode(marker, allowed_special="all") == [token]
    assert is_special(token)


def test_the_stop_tokens_are_the_librarys_and_end_of_text() -> None:
    assert set(encoding.STOP_TOKENS) == {*harmony_encoding().stop_tokens_for_assistant_actions(), encoding.END_OF_TEXT}


def test_ordinary_tokens_end_where_special_ones_begin() -> None:
    assert [is_special(token) for token in (0, encoding.FIRST_SPECIAL - 1, encoding.FIRST_SPECIAL)] == [
        False,
        False,
        True,
    ]
    assert max(encode("".join(map(chr, range(32, 0x3000))))) < encoding.FIRST_SPECIAL


def test_no_network_and_no_cache_are_needed(tmp_path: Path) -> None:
    dead = "http://127.0.0.1:1"
    environment = {
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
        "https_proxy": dead,
        "HTTPS_PROXY": dead,
        "http_proxy": dead,
    }
    program = "from llm_server.harmony.encoding import encode; print(encode('Hello, how are you?'))"
    service = Path(encoding.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=service, env=environment, capture_output=True, check=True
    )
    assert done.stdout.decode().strip() == str(encode("Hello, how are you?"))


@pytest.mark.parametrize(
    ("content", "words"), [(None, "cannot be read"), (b"", "is damaged"), (b"IQ== 0\n", "is damaged")]
)
def test_a_vocabulary_that_is_not_the_one_is_refused(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "o200k_base.tiktoken"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(VocabularyError, match=words):
        encoding._verify(path)


@given(MARKED_TEXT)
def test_text_never_becomes_a_special_token_and_comes_back_as_it_was(text: str) -> None:
    tokens = encode(text)
    assert not any(map(is_special, tokens))
    assert b"".join(map(token_bytes, tokens)) == text.encode()


@given(LONG_TEXT)
@settings(max_examples=20)
def test_long_text_is_encoded_as_the_library_encodes_it_whole(text: str) -> None:
    assert encode(text) == harmony_encoding().encode(text, disallowed_special=())


@pytest.mark.parametrize("text", ["_" * 300_000, "x" * 300_000, " " * 300_000, "\n" * 300_000, "字" * 300_000])
def test_a_run_without_a_break_is_encoded(text: str) -> None:
    assert b"".join(map(token_bytes, encode(text))) == text.encode()


def test_half_a_surrogate_pair_is_replaced() -> None:
    assert encode("a\ud83db") == encode("a?b")
