"""Tries rules of grammars out, in a process that may be killed: `python -m llm_server.harmony.trial_process FD`.

A schema can keep the grammar library busy for hours, and a thread that is busy in it can not be stopped. So each rule
is compiled here first, over a vocabulary of bytes, and followed along random paths: what fails or is slow here would
do so, and worse, in the middle of decoding, where it would hold up everybody. Reads rules from a connection and
answers each with why it is refused, or with nothing.
"""

from __future__ import annotations

import random
import resource
import sys
import time
from functools import cache
from multiprocessing.connection import Connection
from typing import ClassVar, Final

from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

from llm_server.harmony.faults import TOO_COMPLEX, reason
from llm_server.harmony.limits import parser_limits

WALKS: Final = 3
LONGEST_WALK: Final = 100

LONGEST_STEP: Final = 0.015
"""Seconds of this thread's computing that a byte may take. A token takes up to a hundred times as long."""

STEP_FUEL: Final = 32_000
"""Of `limits.STEP_FUEL`, what a byte may take. Any letter of any script, 500 times, takes 20,000."""

_ENDS_STRINGS: Final = frozenset(b'"\\')

CPU_SECONDS: Final = 30
"""What one rule may use, if nobody is left who would kill this process."""

MEMORY_BYTES: Final = 2**29
"""Address space that compiling may take. Large schemas that can be followed need a tenth of it."""


def main() -> None:
    _limit_memory()
    connection = Connection(int(sys.argv[1]))
    while True:
        try:
            rule = connection.recv_bytes().decode()
        except EOFError:
            return
        _limit_computing()
        connection.send_bytes(fault(rule).encode())


def fault(rule: str) -> str:
    """Why the right-hand side of a rule can not be enforced, or ""."""
    grammar = f"%llguidance {{}}\nstart: {rule}"
    matcher = LLMatcher(_bytes(), LLMatcher.grammar_from_lark(grammar), log_level=0, limits=parser_limits(STEP_FUEL))
    if matcher.is_error():
        return reason(matcher.get_error())
    walks = (_walk(matcher.deep_copy(), random.Random(number), to_ends=number == 0) for number in range(WALKS))
    return next(filter(None, walks), "")


def _walk(matcher: LLMatcher, chance: random.Random, *, to_ends: bool) -> str:
    """Follow one path. Without `to_ends`, strings go on as long as they may."""
    for _ in range(LONGEST_WALK):
        started = time.thread_time()
        allowed = _positions(matcher.compute_bitmask())
        if matcher.is_error():
            return reason(matcher.get_error())
        if matcher.is_stopped() or not allowed:
            return ""
        longer = [] if to_ends else [byte for byte in allowed if byte not in _ENDS_STRINGS]
        matcher.consume_token(chance.choice(longer or allowed))
        if time.thread_time() - started > LONGEST_STEP:
            return TOO_COMPLEX
    return ""


def _positions(bits: bytes) -> list[int]:
    return [byte * 8 + bit for byte, eight in enumerate(bits) if eight for bit in range(8) if eight >> bit & 1]


class _Bytes:
    """A vocabulary of the 256 bytes and a token that ends the text, as llguidance asks for one."""

    eos_token_id = 256
    bos_token_id = None
    tokens: ClassVar = [*(bytes([byte]) for byte in range(256)), b"<|end|>"]
    special_token_ids: ClassVar = [256]

    def __call__(self, text: bytes) -> list[int]:
        return list(text)


@cache
def _bytes() -> LLTokenizer:
    return LLTokenizer(TokenizerWrapper(_Bytes()))


def _limit_memory() -> None:
    """Some schemas need gigabytes within seconds. The library then aborts this process, which is an answer, too."""
    if sys.platform == "linux":  # macOS does not keep to such a limit
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        limit = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(hard, MEMORY_BYTES)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _limit_computing() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))


if __name__ == "__main__":
    main()
