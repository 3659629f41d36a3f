"""Input devices of an operator: a tool twist while they are deflected, and commands from keys and buttons.

Each device reads a file descriptor in a thread of its own: a stop key acts at once, and no caller
waits. The operator is assumed to stand behind the base and to look over it into the
work space: forward is -x of the base frame, left is -y, up is z.
"""

import enum
import os
import select
import threading
import time
from collections.abc import Callable

import numpy as np

TOP_SPEED_M_S = 0.12  # of the tool at full deflection; our choice, well inside the manual mode's 0.25 m/s
TOP_TURN_RAD_S = 0.8
READ_BYTES = 4096
END_S = 2.0


class Command(enum.Enum):
    """What an operator can command besides motion."""

    INTERVENE = "intervene"
    RESUME_POLICY = "resume the policy"
    TOGGLE = "intervene or resume the policy"
    GRIPPER = "open or close the gripper"
    SUCCESS = "success"
    FAILURE = "failure"
    CONFIRM = "confirm"
    STOP = "stop"


def twist_w(push: np.ndarray) -> np.ndarray:
    """Return the tool twist (6,) of a deflection (6,), each -1..1, in the base frame: m/s, then rad/s about the axes.

    push: right, forward, up, then rotation about the same axes (right-handed).
    """
    right, forward, up, about_right, about_forward, about_up = np.clip(push, -1.0, 1.0)
    speed = TOP_SPEED_M_S * np.array([-forward, right, up])
    return np.concatenate([speed, TOP_TURN_RAD_S * np.array([-about_forward, about_right, about_up])])


class Device:
    """One device behind a file descriptor that it owns. Subclasses decode what is read.

    on_command: called from the reading thread. lost: set when the device was unplugged.
    """

    name = "device"
    confirms = False  # whether it has a key for CONFIRM
    quiet_s: float | None = None  # after which without input `quiet` is called; None: never

    def __init__(self, fd: int, now: Callable[[], float] = time.monotonic):
        self.on_command: Callable[[Command], None] = lambda command: None
        self.lost = threading.Event()
        self._fd, self._now = fd, now
        self._wake_out, self._wake_in = os.pipe()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def start(self) -> None:
        """Start reading; earlier input is not seen."""
        self._thread.start()

    def push(self) -> np.ndarray:
        """Return the present deflection (6,), see `twist_w`; zeros when released or lost."""
        raise NotImplementedError

    def decode(self, data: bytes) -> None:
        """Process what was read, never empty."""
        raise NotImplementedError

    def quiet(self) -> None:
        """Take note that nothing was read for `quiet_s`, or nothing will be any more."""

    def close(self) -> None:
        """End the thread and close the device; may be called twice."""
        if self._wake_in < 0:
            return
        os.write(self._wake_in, b"x")
        if self._thread.is_alive():
            self._thread.join(END_S)
        for fd in (self._wake_out, self._wake_in):
            os.close(fd)
        self._wake_in = -1
        self.release()

    def release(self) -> None:
        """Close the descriptor."""
        os.close(self._fd)

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([self._fd, self._wake_out], [], [], self.quiet_s)
            if self._wake_out in ready:
                return
            if not ready:
                self.quiet()
                continue
            try:
                data = os.read(self._fd, READ_BYTES)
            except OSError:  # unplugged
                data = b""
            if not data:
                self.quiet()
                self.lost.set()
                return
            self.decode(data)
