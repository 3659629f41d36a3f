"""Receives the controller's state frames on port 20004 in a thread of its own.

Reconnects by itself; `age_s` is the watchdog's reading. A frame that suddenly reads 0 on joints 1-3
is refused: that is what a damaged frame looks like in the vendor's SDK, not where the arm is.
"""

import socket
import threading
import time
from collections import deque

import numpy as np

from real.faults import RobotSilent
from real.wire import ControllerState, FrameStream, parse

SILENCE_S = 0.5  # a connection without data for so long is given up and opened anew
RETRY_S = 0.2
KEPT_STATES = 64  # half a second
ZERO_JUMP_DEG = 5.0  # in 8 ms the arm moves 1.44 deg at most


class StateLink:
    """The latest state of the controller."""

    def __init__(self, address: tuple[str, int]):
        self.address = address
        self.frames = 0
        self.refused_zeros = 0
        self.connections = 0
        self.dropped = 0
        self._latest: ControllerState | None = None
        self._recent: deque[ControllerState] = deque(maxlen=KEPT_STATES)
        self._arrived = threading.Condition()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="state", daemon=True)
        self._thread.start()

    def latest(self) -> ControllerState | None:
        return self._latest

    def nearest(self, at_s: float) -> ControllerState:
        """Of the last half second, the state received nearest to `at_s` (monotonic). ValueError before the first."""
        with self._arrived:
            recent = list(self._recent)
        return min(reversed(recent), key=lambda state: abs(state.stamp_s - at_s))

    @property
    def age_s(self) -> float:
        """Seconds since the last good frame; infinite before the first."""
        state = self._latest
        return float("inf") if state is None else time.monotonic() - state.stamp_s

    def wait_newer(self, than_s: float, timeout_s: float) -> ControllerState:
        """The first state received after `than_s` (monotonic). RobotSilent when none comes in time."""
        with self._arrived:
            self._arrived.wait_for(lambda: self._latest and self._latest.stamp_s > than_s, timeout_s)
            state = self._latest
        if state is not None and state.stamp_s > than_s:
            return state
        raise RobotSilent(
            f"no state from {self.address[0]}:{self.address[1]} within {timeout_s:g} s; "
            "check power and address, and that no other program holds the state port"
        )

    def close(self) -> None:
        self._ending.set()
        self._thread.join(2 * SILENCE_S + 1.0)

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                with socket.create_connection(self.address, timeout=SILENCE_S) as connection:
                    self.connections += 1
                    self._receive(connection)
            except OSError:
                pass  # the age of the last frame tells the callers
            self._ending.wait(RETRY_S)

    def _receive(self, connection: socket.socket) -> None:
        stream, dropped_before = FrameStream(), self.dropped
        while not self._ending.is_set():
            data = connection.recv(65536)
            if not data:
                return
            stamp_s = time.monotonic()
            for frame in stream.feed(data):
                self._take(parse(frame, stamp_s))
            self.dropped = dropped_before + stream.dropped

    def _take(self, state: ControllerState) -> None:
        if not np.isfinite(state.joint_deg).all() or self._is_sudden_zero(state):
            self.refused_zeros += 1
            return
        with self._arrived:
            self._latest = state
            self._recent.append(state)
            self.frames += 1
            self._arrived.notify_all()

    def _is_sudden_zero(self, state: ControllerState) -> bool:
        if state.joint_deg[:3].any():
            return False
        last = self._latest
        # Before the first frame nothing tells a true zero pose from a damaged frame: driver.py asks
        # the controller by XML-RPC as well.
        return last is not None and float(np.abs(last.joint_deg[:3]).max()) > ZERO_JUMP_DEG
