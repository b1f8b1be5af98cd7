"""Seals open to what was sealed, with the same key; everything else opens to nothing, is counted and raises nothing."""

from __future__ import annotations

import base64
import tracemalloc

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from llm_server.harmony.encoding import CALL, END, FIRST_SPECIAL, START, encode
from llm_server.harmony.seal import LONGEST_BODY, Sealer

SEALER = Sealer(b"secret")
BODY = encode("They want the weather in Oslo. A tool is needed.")
SEAL = SEALER.seal(BODY)
ORDINARY = st.lists(st.integers(0, FIRST_SPECIAL - 1), max_size=50)


@given(ORDINARY)
def test_a_seal_opens_to_what_was_sealed(body: list[int]) -> None:
    assert Sealer(b"secret").open(SEALER.seal(body)) == tuple(body)


@pytest.mark.parametrize("token", [0, 127, 128, 16_383, 16_384, FIRST_SPECIAL - 1])
def test_ids_of_every_length(token: int) -> None:
    assert SEALER.open(SEALER.seal([token, 5, token])) == (token, 5, token)


def test_the_longest_body_can_be_opened_and_a_longer_one_is_not_sealed() -> None:
    body = [FIRST_SPECIAL - 1] * LONGEST_BODY
    assert SEALER.open(SEALER.seal(body)) == tuple(body)
    assert SEALER.seal([*body, 1]) == ""


@pytest.mark.parametrize("token", [FIRST_SPECIAL, START, END, CALL, -1])
def test_special_tokens_are_not_sealed(token: int) -> None:
    assert SEALER.seal([*BODY, token]) == ""


def test_the_same_body_is_sealed_differently_each_time() -> None:
    assert len({SEALER.seal(BODY) for _ in range(20)}) == 20


def test_a_seal_says_nothing_and_fits_into_json_and_urls() -> None:
    assert set(SEAL) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    raw = base64.urlsafe_b64decode(SEAL + "=" * (-len(SEAL) % 4))
    assert b"Oslo" not in raw
    assert len(raw) < 3 * len(BODY) + 30


def test_another_key_opens_nothing() -> None:
    other = Sealer(b"secret ")
    assert other.open(SEAL) is None
    assert other.rejected == 1


@pytest.mark.parametrize("place", range(len(SEAL)))
def test_no_character_of_a_seal_can_be_changed(place: int) -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_ =+/\n.é\x00"
    for character in set(alphabet) - {SEAL[place]}:
        assert SEALER.open(SEAL[:place] + character + SEAL[place + 1 :]) is None


def test_no_byte_of_a_seal_can_be_changed() -> None:
    raw = bytearray(base64.urlsafe_b64decode(SEAL + "=" * (-len(SEAL) % 4)))
    for place in range(len(raw)):
        for bit in range(8):
            raw[place] ^= 1 << bit
            assert SEALER.open(text(raw)) is None
            raw[place] ^= 1 << bit
    assert SEALER.open(text(raw)) == tuple(BODY)


def test_no_seal_can_be_cut_or_lengthened() -> None:
    for length in range(len(SEAL)):
        assert SEALER.open(SEAL[:length]) is None
        assert SEALER.open(SEAL[length:] if length else "") is None
    for more in ("A", "=", "==", "\n", " ", SEAL):
        assert SEALER.open(SEAL + more) is None
        assert SEALER.open(more + SEAL) is None


def test_what_is_too_long_is_not_even_decoded() -> None:
    sealer, seal = Sealer(b"secret"), "A" * 10_000_000
    tracemalloc.start()
    opened = sealer.open(seal)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert opened is None
    assert sealer.rejected == 1
    assert peak < 100_000


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda raw: b"\x01" + raw))
def test_no_bytes_open(raw: bytes) -> None:
    assert SEALER.open(text(raw)) is None


@given(st.text())
def test_no_text_opens(anything: str) -> None:
    assert SEALER.open(anything) is None


@pytest.mark.parametrize(
    "content",
    [b"\x80", b"\x81\x80\x80\x00", b"\xff\xff\xff\x7f", b"\xc6\x9a\x0c", b"\x01" * (LONGEST_BODY + 1)],
    ids=["half an id", "an id in four bytes", "a large id", "<|start|>", "too many"],
)
def test_authentic_content_that_is_no_body_is_refused(content: bytes) -> None:
    """As a version with other rules might have sealed it."""
    sealer = Sealer(b"secret")
    assert sealer.open(sealed_as_version_1(b"\x05")) == (5,)
    assert sealer.open(sealed_as_version_1(content)) is None
    assert sealer.rejected == 1


def sealed_as_version_1(content: bytes) -> str:
    """Written anew here: seals of today open tomorrow, or the version has to be another one."""
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"llm-server sealed reasoning").derive(b"secret")
    nonce = bytes(range(12))
    return text(b"\x01" + nonce + AESGCM(key).encrypt(nonce, content, b"llm-server sealed reasoning\x01"))


def test_every_refusal_is_counted_and_nothing_else() -> None:
    sealer = Sealer(b"secret")
    for seal in (SEAL, "", "nonsense", SEAL[:-1], SEAL):
        sealer.open(seal)
    assert sealer.rejected == 3


def test_the_key_has_no_representation() -> None:
    assert "secret" not in repr(vars(Sealer(b"secret")))


def text(raw: bytes | bytearray) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
