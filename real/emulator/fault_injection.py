"""Faults that can be injected into the emulator, through its bench port or by a script.

Some happen once (an emergency stop), others last (frames are lost with a probability).
A script is a file of JSON lines {"at_s": 3, "what": "lost", "amount": 0.2, "for_s": 5}, at_s counted
from the emulator's start; amount and for_s may be left out.
"""

import json
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sim.core.errors import UserError, nearest

FOREVER = float("inf")
SHARE, SECONDS, ANY = (0.0, 1.0), (0.0, 60.0), (0.0, math.inf)
# What lasts: the amount it has when none is given, what the amount is, and its range.
LASTING = {
    "late": (0.05, "s by which every state frame is late", SECONDS),
    "jitter": (0.02, "s by which a state frame is late at most", SECONDS),
    "lost": (0.1, "share of state frames that are never sent", SHARE),
    "torn": (0.1, "share of state frames sent in two pieces, or of which the second piece is lost", SHARE),
    "doubled": (0.1, "share of state frames sent twice", SHARE),
    "corrupt": (0.1, "share of state frames with damaged bytes", SHARE),
    "merged": (0.1, "share of state frames sent in one piece with the next", SHARE),
    "garbage": (0.1, "share of state frames with foreign bytes before them", SHARE),
    "zeros": (0.1, "share of state frames whose joint angles are 0", SHARE),
    "mute_state": (1.0, "any: state ports are open but silent", ANY),
    "slow_rpc": (0.2, "s by which every XML-RPC answer is late", SECONDS),
    "dead_rpc": (0.1, "share of XML-RPC connections closed without an answer", SHARE),
    "garbled_rpc": (0.1, "share of XML-RPC answers that are malformed", SHARE),
    "lost_udp": (0.1, "share of ServoJ datagrams that never arrive", SHARE),
    "doubled_udp": (0.1, "share of ServoJ datagrams that arrive twice", SHARE),
    "drift": (1000.0, "parts in a million by which the controller's clock is slow", (-100_000.0, 100_000.0)),
    "power_loss": (1.0, "any: the control box is off and answers nothing", ANY),
}
END = "end"  # ends everything that lasts


@dataclass(frozen=True)
class ScheduledFault:
    """One line of a script."""

    at_s: float
    what: str
    amount: float | None = None
    for_s: float = FOREVER

    def __post_init__(self) -> None:
        if not isinstance(self.what, str):
            raise TypeError(f"what={self.what!r}, expected the name of a fault")
        _check_number("at_s", self.at_s, ANY)
        check_amount(self.what, self.amount, self.for_s)


def check_amount(what: str, amount: float | None, for_s: float) -> None:
    """Raise TypeError or ValueError, in one line, for an amount or a duration that the fault `what` cannot have."""
    if amount is not None:
        _check_number("amount", amount, LASTING[what][2] if what in LASTING else ANY)
    if for_s != FOREVER:
        _check_number("for_s", for_s, ANY)


def _check_number(name: str, value: object, bounds: tuple[float, float]) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name}={value!r}, expected a number")
    if not bounds[0] <= value <= bounds[1] or math.isinf(value):
        raise ValueError(f"{name}={value:g}, expected a number from {bounds[0]:g} to {bounds[1]:g}")


def read_script(path: Path) -> list[ScheduledFault]:
    """Return the faults of a script in the order of their time. UserError names the line that is wrong."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no text"
        raise UserError(f"faults={path}: cannot be read ({reason})") from error
    scheduled = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            scheduled.append(ScheduledFault(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise UserError(f"{path} line {number} is not a fault: {error}") from error
    return sorted(scheduled, key=lambda fault: fault.at_s)


class FaultInjector:
    """What is wrong at present. `once`: the faults that happen at once, by name; every method is thread-safe."""

    def __init__(self, once: dict[str, Callable[[], object]], script: list[ScheduledFault] | None = None):
        self._once = once
        self._lasting: dict[str, tuple[float, float]] = {}  # name -> (amount, until, monotonic)
        self._lock = threading.Lock()
        self._begin_s = time.monotonic()
        self._script = list(script or ())
        for fault in self._script:
            self._check_name(fault.what)

    @property
    def names(self) -> list[str]:
        return sorted([*self._once, *LASTING, END])

    def inject(self, what: str, amount: float | None = None, for_s: float = FOREVER) -> None:
        """Let the fault `what` happen; "end" ends all that lasts. UserError for an unknown name or a wrong amount."""
        self._check_name(what)
        try:
            check_amount(what, amount, for_s)
        except (TypeError, ValueError) as error:
            raise UserError(f"{what}: {error}") from error
        if what in self._once:
            self._once[what]()
            return
        with self._lock:
            if what == END:
                self._lasting.clear()
            else:
                self._lasting[what] = (LASTING[what][0] if amount is None else amount, time.monotonic() + for_s)

    def amount(self, what: str) -> float:
        """Return the amount of a lasting fault now; 0 when it is over."""
        with self._lock:
            amount, until_s = self._lasting.get(what, (0.0, 0.0))
        return amount if time.monotonic() < until_s else 0.0

    def run_script(self) -> None:
        """Inject what is due; called once a cycle."""
        while self._script and time.monotonic() - self._begin_s >= self._script[0].at_s:
            fault = self._script.pop(0)
            self.inject(fault.what, fault.amount, fault.for_s)

    def _check_name(self, what: str) -> None:
        if what not in self._once and what not in LASTING and what != END:
            raise UserError(nearest(what, self.names, "fault"))


class RandomFaults:
    """Draws from `rng` whether a fault of a given share occurs, and counts. Thread-safe."""

    def __init__(self, amount: Callable[[str], float], rng: np.random.Generator):
        self.amount = amount
        self.rng = rng
        self.injected: dict[str, int] = {}
        self._lock = threading.Lock()

    def occurs(self, kind: str) -> bool:
        """Return whether `kind` occurs now."""
        share = self.amount(kind)
        with self._lock:
            occurs = bool(share) and self.rng.random() < share
        if occurs:
            self.count(kind)
        return occurs

    def count(self, kind: str) -> None:
        with self._lock:
            self.injected[kind] = self.injected.get(kind, 0) + 1

    def counts(self) -> dict[str, int]:
        """Return how often each kind occurred so far."""
        with self._lock:
            return dict(self.injected)
