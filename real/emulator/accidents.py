"""What can be made to go wrong on the emulator: by the bench port, or by a script.

Some accidents happen once (an emergency stop), others last (frames are lost with a probability).
A script is a file of JSON lines {"at_s": 3, "what": "lost", "amount": 0.2, "for_s": 5}, at_s counted
from the emulator's start; amount and for_s may be left out.
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sim.core.errors import UserError, nearest

ALWAYS = float("inf")
# What lasts: the amount it has when none is given, and what the amount is.
LASTING = {
    "late": (0.05, "s that every state frame is late"),
    "jitter": (0.02, "s at most that a state frame is late"),
    "lost": (0.1, "share of state frames that never leave"),
    "torn": (0.1, "share of state frames sent in two pieces, or of which the second piece is lost"),
    "doubled": (0.1, "share of state frames sent twice"),
    "corrupt": (0.1, "share of state frames with damaged bytes"),
    "merged": (0.1, "share of state frames sent in one piece with the next"),
    "garbage": (0.1, "share of state frames with foreign bytes before them"),
    "mute_state": (1.0, "any: state ports are open but silent"),
    "slow_rpc": (0.2, "s that every XML-RPC answer is late"),
    "dead_rpc": (0.1, "share of XML-RPC connections that end without an answer"),
    "garbled_rpc": (0.1, "share of XML-RPC answers that are none"),
    "lost_udp": (0.1, "share of ServoJ datagrams that never arrive"),
    "doubled_udp": (0.1, "share of ServoJ datagrams that arrive twice"),
    "drift": (1000.0, "parts in a million by which the controller's clock is slow"),
    "power_loss": (1.0, "any: the box is dark and answers nobody"),
}


@dataclass(frozen=True)
class Planned:
    """One line of a script."""

    at_s: float
    what: str
    amount: float | None = None
    for_s: float = ALWAYS

    def __post_init__(self) -> None:
        for name in ("at_s", "amount", "for_s"):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number and not (name == "amount" and value is None):
                raise TypeError(f"{name}={value!r}, expected a number")


def read_script(path: Path) -> list[Planned]:
    """The accidents of a script in the order of their time. UserError names the line that is wrong."""
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise UserError(f"faults={path}: cannot be read ({error.strerror})") from error
    planned = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            planned.append(Planned(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise UserError(f"{path} line {number} is no accident: {error}") from error
    return sorted(planned, key=lambda accident: accident.at_s)


class Accidents:
    """What goes wrong at present. `once`: the accidents that just happen, by name; every method is thread-safe."""

    def __init__(self, once: dict[str, Callable[[], object]], script: list[Planned] | None = None):
        self._once = once
        self._lasting: dict[str, tuple[float, float]] = {}  # name -> (amount, until, monotonic)
        self._lock = threading.Lock()
        self._begin_s = time.monotonic()
        self._script = list(script or ())
        for accident in self._script:
            self._check(accident.what)

    @property
    def names(self) -> list[str]:
        return sorted([*self._once, *LASTING, "end"])

    def cause(self, what: str, amount: float | None = None, for_s: float = ALWAYS) -> None:
        """Let `what` happen; "end" ends all that lasts. UserError for an unknown name."""
        self._check(what)
        if what == "end":
            with self._lock:
                self._lasting.clear()
        elif what in self._once:
            self._once[what]()
        else:
            with self._lock:
                self._lasting[what] = (LASTING[what][0] if amount is None else amount, time.monotonic() + for_s)

    def amount(self, what: str) -> float:
        """How much of a lasting accident there is now; 0 when it is over."""
        with self._lock:
            amount, until_s = self._lasting.get(what, (0.0, 0.0))
        return amount if time.monotonic() < until_s else 0.0

    def play_script(self) -> None:
        """Cause what is due; called once a cycle."""
        while self._script and time.monotonic() - self._begin_s >= self._script[0].at_s:
            accident = self._script.pop(0)
            self.cause(accident.what, accident.amount, accident.for_s)

    def _check(self, what: str) -> None:
        if what not in self._once and what not in LASTING and what != "end":
            raise UserError(nearest(what, self.names, "accident"))


class Chance:
    """Draws from `rng` whether an accident of a given share happens, and counts. Thread-safe."""

    def __init__(self, amount: Callable[[str], float], rng: np.random.Generator):
        self.amount = amount
        self.rng = rng
        self.injected: dict[str, int] = {}
        self._lock = threading.Lock()

    def happens(self, kind: str) -> bool:
        """Whether `kind` strikes now."""
        share = self.amount(kind)
        with self._lock:
            struck = bool(share) and self.rng.random() < share
        if struck:
            self.count(kind)
        return struck

    def count(self, kind: str) -> None:
        with self._lock:
            self.injected[kind] = self.injected.get(kind, 0) + 1
