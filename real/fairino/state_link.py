"""Receives the controller's state in a thread of its own, from the first port that offers it.

Reconnects by itself; the watchdog reads `age_s`. Implausible frames (plausible.py) and exact repetitions are dropped,
and told with the error of a stale state: a controller that repeats itself has stopped updating.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from real.core.faults import RobotUnreachable
from real.fairino.controller_state import ControllerState
from real.fairino.plausible import Plausibility
from real.fairino.state_ports import Connection, StatePort

SILENCE_S = 0.5  # a connection without data for this time is closed and opened again
RETRY_S = 0.2
KEPT_STATES = 64  # half a second


class StateLink:
    """The latest state of the controller.

    ports: in order of preference. The first that answers is kept until the end. Each of `listeners` is called
    in the receiving thread with every accepted state; it must be quick.
    """

    def __init__(self, ports: Sequence[StatePort]):
        self._ports = tuple(ports)
        self.listeners: list[Callable[[ControllerState], None]] = []
        self.port: StatePort | None = None
        self.frames = 0  # accepted
        self._repeated = 0  # since the last accepted one
        self.connections = 0
        self.dropped = 0
        self.skipped_bytes = 0
        self.plausibility = Plausibility()
        self._connect_error = ""
        self._latest: ControllerState | None = None
        self._recent: deque[ControllerState] = deque(maxlen=KEPT_STATES)
        self._arrived = threading.Condition()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="state", daemon=True)
        self._thread.start()

    @property
    def protocol(self) -> str:
        """The port that the state comes from; empty before the first connection."""
        return self.port.name if self.port else ""

    def latest(self) -> ControllerState | None:
        return self._latest

    def servo_count(self) -> int | None:
        """Return how many ServoJ calls the controller has accepted; None where it does not say."""
        return self._latest.servo_count if self._latest else None

    def nearest(self, at_s: float) -> ControllerState:
        """Return, of the last half second, the state received nearest to `at_s` (monotonic). ValueError before the
        first."""
        with self._arrived:
            recent = list(self._recent)
        return min(reversed(recent), key=lambda state: abs(state.stamp_s - at_s))

    @property
    def rejection(self) -> str:
        """Why the frames since the last accepted one were rejected, for messages; "" when none was."""
        if count := self.plausibility.rejected_in_a_row:
            return f"; the {count} frames since then were rejected: {self.plausibility.reason}"
        return f"; the {self._repeated} frames since then repeat it" if self._repeated else ""

    @property
    def age_s(self) -> float:
        """Seconds since the last good frame; infinite before the first."""
        state = self._latest
        return float("inf") if state is None else time.monotonic() - state.stamp_s

    def wait_newer(self, than_s: float, timeout_s: float) -> ControllerState:
        """Return the first state received after `than_s` (monotonic). RobotUnreachable when none comes in time."""
        with self._arrived:
            self._arrived.wait_for(lambda: self._latest and self._latest.stamp_s > than_s, timeout_s)
            state = self._latest
        if state is not None and state.stamp_s > than_s:
            return state
        where = " or ".join(f"{port.address[0]}:{port.address[1]}" for port in self._ports)
        raise RobotUnreachable(
            f"no state from {where} within {timeout_s:g} s{self._connect_error}{self.rejection}; "
            "check power and address, and that no other program holds the state port"
        )

    def close(self) -> None:
        self._ending.set()
        self._thread.join(2 * SILENCE_S + 1.0)

    def _run(self) -> None:
        while not self._ending.is_set():
            opened = self._connect()
            if opened is not None:
                self.connections += 1
                # Callers see the error as the age of the last frame.
                with opened.connection, contextlib.suppress(OSError):
                    self._receive(opened)
            self._ending.wait(RETRY_S)

    def _connect(self) -> Connection | None:
        for port in (self.port,) if self.port else self._ports:
            try:
                opened = port.open()
            except OSError as error:
                self._connect_error = f" ({port.name}: {error})"
                continue
            self.port = port
            return opened
        return None

    def _receive(self, opened: Connection) -> None:
        cutter, connection = opened.cutter, opened.connection
        dropped, skipped = self.dropped, self.skipped_bytes
        connection.settimeout(SILENCE_S)
        before = b""
        frames, stamp_s = opened.first, time.monotonic()
        while not self._ending.is_set():
            for frame in frames:
                self._take(frame, before, opened.read(frame, stamp_s))
                before = frame
            self.dropped, self.skipped_bytes = dropped + cutter.dropped, skipped + cutter.skipped_bytes
            data = connection.recv(65536)
            if not data:
                return
            stamp_s = time.monotonic()
            frames = cutter.feed(data)

    def _take(self, frame: bytes, before: bytes, state: ControllerState | None) -> None:
        if frame == before:
            self._repeated += 1
            return
        if state is None or not self.plausibility.accepts(state):
            return
        with self._arrived:
            self._latest = state
            self._recent.append(state)
            self.frames += 1
            self._repeated = 0
            self._arrived.notify_all()
        for listener in tuple(self.listeners):  # another thread may add or remove one
            listener(state)
