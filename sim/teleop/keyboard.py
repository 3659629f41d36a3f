"""The keyboard as a device: a terminal read key by key, also over ssh.

A terminal reports keys pressed, not keys released. A key therefore moves the tool for HOLD_S; held
down, it repeats, and the motion continues.
"""

import contextlib
import os
import re
import sys
import termios
import time
import tty
from collections.abc import Callable

import numpy as np

from sim.core.errors import UserError
from sim.teleop.device import Command, Device

HOLD_S = 0.2  # longer than a repeat (33 ms), short enough for small corrections
# Key -> which of right, forward, up, about right, about forward, about up, and its sign.
PUSHES = {
    "d": (0, 1), "a": (0, -1), "w": (1, 1), "s": (1, -1), "e": (2, 1), "q": (2, -1),
    "i": (3, -1), "k": (3, 1), "l": (4, 1), "j": (4, -1), "u": (5, 1), "o": (5, -1),
}  # fmt: skip
COMMANDS = {
    "t": Command.INTERVENE, "h": Command.RESUME_POLICY, " ": Command.GRIPPER, "y": Command.SUCCESS,
    "n": Command.FAILURE,
    "\n": Command.CONFIRM, "\r": Command.CONFIRM, "x": Command.STOP, "\x1b": Command.STOP,
}  # fmt: skip
# Sequences of arrow and function keys, ignored here; they start like Escape and may arrive in two reads.
SEQUENCE = re.compile(r"\x1b(?:\[\[?[0-?]*[ -/]*[@-~]?|O[0-?]*[@-~]?)")
UNFINISHED = re.compile(rb"\x1b(?:\[\[?[0-?]*[ -/]*|O[0-?]*)?\Z")  # at the end of a read: the rest is to come
HELP = (
    "t intervene, h resume the policy, y success, n failure, x stop; w s a d q e move the tool, i k j l u o turn it, "
    "space gripper"
)


class Keyboard(Device):
    """Keys from a terminal, or from any other descriptor (a pipe) that gives characters."""

    name = "keyboard"
    confirms = True
    quiet_s = 0.05  # longer than a sequence is under way; then Escape is the key

    def __init__(self, fd: int, now: Callable[[], float] = time.monotonic):
        super().__init__(fd, now)
        self._until_s = np.zeros((6, 2))  # until when each axis is deflected, in each direction
        self._unfinished = b""
        self._before = None
        if os.isatty(fd):
            self._before = termios.tcgetattr(fd)
            tty.setcbreak(fd)  # Ctrl-C stays a signal

    def push(self) -> np.ndarray:
        held = self._until_s > self._now()
        return held[:, 0].astype(float) - held[:, 1]

    def decode(self, data: bytes) -> None:
        data = self._unfinished + data
        rest = UNFINISHED.search(data)
        self._unfinished = rest.group() if rest else b""
        self._press(data.removesuffix(self._unfinished))

    def quiet(self) -> None:
        """Take note that the rest of a sequence did not come: Escape alone is a key, another beginning is none."""
        data, self._unfinished = self._unfinished, b""
        self._press(data)

    def _press(self, data: bytes) -> None:
        for key in SEQUENCE.sub("", data.decode(errors="replace")).lower():
            if key in PUSHES:
                axis, sign = PUSHES[key]
                self._until_s[axis, int(sign < 0)] = self._now() + HOLD_S
                self._until_s[axis, int(sign > 0)] = 0.0
            elif key in COMMANDS:
                self.on_command(COMMANDS[key])

    def release(self) -> None:
        """Restore the terminal; standard input itself stays open."""
        if self._before is not None:
            with contextlib.suppress(termios.error):  # the terminal is gone
                termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)


def open_keyboard() -> Keyboard:
    """Return the terminal that this program runs in. UserError when there is none."""
    if not sys.stdin.isatty():
        raise UserError("nobody is at the keyboard: standard input is no terminal; run it in one (ssh -t)")
    return Keyboard(sys.stdin.fileno())
