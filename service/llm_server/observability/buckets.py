"""The edges of every histogram. Those of `vllm:` names contain vLLM's own, and those of `gen_ai_` names
OpenTelemetry's, so that queries written for either stay true.

gpt-oss writes a token in some 10 ms on Apple Silicon, where vLLM's edges have one bucket; hence the finer ones.
Seconds, unless the name says tokens.
"""

from __future__ import annotations

from typing import Final


def _merged(*groups: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(sorted({edge for group in groups for edge in group}))


_VLLM_FIRST_TOKEN = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0),
    *(2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
_VLLM_TOKEN_GAP = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
)
_VLLM_REQUEST = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0),
    *(120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)

FIRST_TOKEN: Final = _merged(_VLLM_FIRST_TOKEN, (0.15, 0.2, 0.3, 0.4, 1.5, 2.0, 3.0, 4.0, 15.0, 30.0, 60.0, 120.0))
TOKEN_GAP: Final = _merged(_VLLM_TOKEN_GAP, (0.002, 0.004, 0.006, 0.008, 0.0125, 0.015, 0.02, 0.03, 0.04))
REQUEST: Final = _merged(_VLLM_REQUEST, (0.05, 0.1, 0.2))
SEMANTIC_REQUEST: Final = _merged(REQUEST, tuple(0.01 * 2**power for power in range(14)))
PHASE: Final = _merged(_VLLM_REQUEST, (0.001, 0.005, 0.01, 0.05, 0.1, 0.2))
HTTP: Final = _merged(REQUEST, (0.001, 0.005, 0.01, 0.02))
TOKENS: Final = tuple(float(digit * 10**power) for power in range(6) for digit in (1, 2, 5))
ITERATION_TOKENS: Final = (1.0, 8.0, *(float(2**power) for power in range(4, 15)))
STEP: Final = (
    *(0.001, 0.002, 0.004, 0.006, 0.008, 0.01, 0.0125, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15),
    *(0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
BATCH: Final = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 128.0, 256.0)
RECOVERY: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
CANCEL: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
CANARY: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
GRAMMAR: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
LAG: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
STALL: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0)
