"""A gamepad through the kernel's joystick interface: no library, /dev/input/js0 on Linux.

Events as in linux/joystick.h: struct js_event {u32 time; s16 value; u8 type; u8 number}. Axes and
buttons are numbered as the kernel's xpad driver does for an Xbox pad; pads of other makers agree in
the sticks and shoulder buttons. The tool moves only while the left shoulder button is held.
"""

import os
import struct
from pathlib import Path

import numpy as np

from sim.core.errors import UserError
from sim.teleop.device import Command, Device

EVENT = struct.Struct("<IhBB")
BUTTON, AXIS, INITIAL = 0x01, 0x02, 0x80
FULL = 32767
DEAD_ZONE = 0.12
LEFT_X, LEFT_Y, LEFT_TRIGGER, RIGHT_X, RIGHT_Y, RIGHT_TRIGGER, HAT_X = range(7)
HOLD_BUTTON = 4  # left shoulder
BUTTONS = {
    0: Command.GRIPPER,  # A
    1: Command.FAILURE,  # B
    3: Command.SUCCESS,  # Y
    5: Command.STOP,  # right shoulder
    6: Command.RESUME_POLICY,  # back
    7: Command.INTERVENE,  # start
}
FOLDER = Path("/dev/input")


class Gamepad(Device):
    """Left stick: across the table; triggers: up and down; right stick: tilt; cross left and right: turn."""

    name = "gamepad"

    def __init__(self, fd: int):
        super().__init__(fd)
        self._axes = np.zeros(8)
        self._axes[[LEFT_TRIGGER, RIGHT_TRIGGER]] = -1.0  # released
        self._held = False
        self._rest = b""

    def push(self) -> np.ndarray:
        if not self._held or self.lost.is_set():
            return np.zeros(6)
        axes = np.where(np.abs(self._axes) < DEAD_ZONE, 0.0, self._axes)
        up = (self._axes[RIGHT_TRIGGER] - self._axes[LEFT_TRIGGER]) / 2
        # A stick pushed forward reads negative.
        return np.array([axes[LEFT_X], -axes[LEFT_Y], up, axes[RIGHT_Y], axes[RIGHT_X], -axes[HAT_X]])

    def decode(self, data: bytes) -> None:
        data = self._rest + data
        whole = len(data) - len(data) % EVENT.size
        self._rest = data[whole:]
        for _, value, kind, number in EVENT.iter_unpack(data[:whole]):
            self._take(kind, number, value)

    def _take(self, kind: int, number: int, value: int) -> None:
        if kind & AXIS and number < len(self._axes):
            self._axes[number] = np.clip(value / FULL, -1.0, 1.0)
        elif kind & BUTTON and number == HOLD_BUTTON:
            self._held = bool(value) and not kind & INITIAL  # held while it was plugged in does not count
        elif kind == BUTTON and value and number in BUTTONS:
            self.on_command(BUTTONS[number])


def open_gamepad(folder: Path = FOLDER) -> Gamepad:
    """Return the first gamepad. UserError when there is none or it may not be read."""
    pads = sorted(folder.glob("js*"))
    if not pads:
        raise UserError(f"no gamepad at {folder}/js*: plug it in (Linux; module joydev), or take device=keyboard")
    try:
        return Gamepad(os.open(pads[0], os.O_RDONLY))
    except OSError as error:
        raise UserError(f"{pads[0]} cannot be read ({error.strerror}); join the group input") from error
