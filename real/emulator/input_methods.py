"""Inputs of the emulated controller by wire name, read and waited for. They are wired to nothing and read 0.

Arguments: the vendor's Python SDK. The times are in ms, those of auxiliary inputs too.
"""

import time

from real.emulator.method_table import Method, Table
from real.fairino.fault_codes import Code

MAX_WAIT_MS = 30_000
FAIL, GO_ON, FOR_EVER = 0, 1, 2  # after the time given
ABOVE, BELOW = 0, 1  # the comparison of an analog input
ALL, ANY = 0, 1
READINGS = ("GetDI", "GetAI", "GetToolDI", "GetToolAI", "GetAuxDI", "GetAuxAI")


def input_methods() -> Table:
    return {
        **{name: Method(4, _digital) for name in ("WaitDI", "WaitToolDI", "WaitAuxDI")},
        **{name: Method(5, _analog) for name in ("WaitAI", "WaitToolAI", "WaitAuxAI")},
        "WaitMultiDI": Method(5, _several),
        **{name: Method(2, lambda number, block: [0], 1) for name in READINGS},
    }


def _digital(number: int, status: int, time_ms: int, after: int) -> int:
    return _wait(time_ms, after, holds=not status)


def _analog(number: int, comparison: int, value: float, time_ms: int, after: int) -> int:  # noqa: PLR0913
    if comparison not in (ABOVE, BELOW):
        return Code.WRONG_VALUE
    return _wait(time_ms, after, holds=value < 0 if comparison == ABOVE else value > 0)


def _several(mode: int, inputs: int, status: int, time_ms: int, after: int) -> int:  # noqa: PLR0913
    """Wait for inputs: bits of those of the box; whether all or any of them has the status is the same here."""
    return _wait(time_ms, after, holds=not status) if mode in (ALL, ANY) else Code.WRONG_VALUE


def _wait(time_ms: int, after: int, *, holds: bool) -> int:
    """Wait for what the inputs do not come to; for ever means MAX_WAIT_MS here."""
    if after not in (FAIL, GO_ON, FOR_EVER) or not 0 <= time_ms <= MAX_WAIT_MS:
        return Code.WRONG_VALUE
    if holds:
        return Code.OK
    time.sleep((MAX_WAIT_MS if after == FOR_EVER else time_ms) / 1000)
    return Code.OK if after == GO_ON else Code.WAIT_TIMEOUT
