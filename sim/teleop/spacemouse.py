"""A SpaceMouse through its HID reports: no library, /dev/hidraw* on Linux.

Report 1: x, y, z as little-endian int16, on newer models followed by rx, ry, rz; report 2: rx, ry, rz
on older ones; report 3: buttons, a bit each. Axes point right, towards the operator and down; full
deflection is about 350. While any axis is not zero a report arrives every 8 to 16 ms (measured on a
SpaceNavigator and a SpaceMouse Wireless), so silence means that it was released or unplugged.
"""

import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sim.core.errors import UserError
from sim.teleop.device import Command, Device

FULL = 350.0
DEAD_ZONE = 0.06
RELEASED_S = 0.2
MOVE, TURN, PRESS = 1, 2, 3
BUTTONS = (Command.GRIPPER, Command.TOGGLE)
MAKERS = {"0000256F": None, "0000046D": range(0xC603, 0xC630)}  # 3Dconnexion; formerly under Logitech's number
FOLDER = Path("/sys/class/hidraw")


class SpaceMouse(Device):
    """One report per read, as hidraw returns them."""

    name = "spacemouse"

    def __init__(self, fd: int, now: Callable[[], float] = time.monotonic):
        super().__init__(fd, now)
        self._axes = np.zeros(6)
        self._received_s = float("-inf")
        self._pressed = 0

    def push(self) -> np.ndarray:
        if self.lost.is_set() or self._now() - self._received_s > RELEASED_S:
            return np.zeros(6)
        x, y, z, rx, ry, rz = np.where(np.abs(self._axes) < DEAD_ZONE, 0.0, self._axes)
        return np.array([x, -y, -z, rx, -ry, -rz])

    def decode(self, data: bytes) -> None:
        kind, body = data[0], data[1:]
        if kind == MOVE and len(body) >= 12:
            self._axes[:] = np.array(struct.unpack_from("<6h", body)) / FULL
        elif kind in (MOVE, TURN) and len(body) >= 6:
            self._axes[slice(0, 3) if kind == MOVE else slice(3, 6)] = np.array(struct.unpack_from("<3h", body)) / FULL
        elif kind == PRESS:
            self._press(int.from_bytes(body, "little"))
            return
        else:
            return  # battery and the like
        self._received_s = self._now()

    def _press(self, buttons: int) -> None:
        fresh, self._pressed = buttons & ~self._pressed, buttons
        for number, command in enumerate(BUTTONS):
            if fresh >> number & 1:
                self.on_command(command)


def open_spacemouse(folder: Path = FOLDER, nodes: Path = Path("/dev")) -> SpaceMouse:
    """Return the first SpaceMouse. UserError when there is none or it may not be read."""
    found = [path.name for path in sorted(folder.glob("hidraw*")) if _is_spacemouse(path / "device" / "uevent")]
    if not found:
        raise UserError("no SpaceMouse among /dev/hidraw*: plug it in (Linux), or take device=keyboard")
    try:
        return SpaceMouse(os.open(nodes / found[0], os.O_RDONLY))
    except OSError as error:
        rule = 'KERNEL=="hidraw*", ATTRS{idVendor}=="256f", MODE="0660", GROUP="plugdev"'
        raise UserError(f"{nodes / found[0]} cannot be read ({error.strerror}); add the udev rule {rule}") from error


def _is_spacemouse(uevent: Path) -> bool:
    """Decide by the line HID_ID=BUS:MAKER:PRODUCT."""
    try:
        lines = uevent.read_text().splitlines()
    except OSError:
        return False
    ids = next((line.removeprefix("HID_ID=").upper().split(":") for line in lines if line.startswith("HID_ID=")), [])
    if len(ids) != 3 or ids[1] not in MAKERS:
        return False
    products = MAKERS[ids[1]]
    return products is None or int(ids[2], 16) in products
