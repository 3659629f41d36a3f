"""The operator: all devices as one. Deflections add up, commands queue until they are taken."""

import threading
from collections.abc import Callable, Sequence

import numpy as np

from sim.core.errors import UserError
from sim.teleop.device import Command, Device, twist_w
from sim.teleop.gamepad import open_gamepad
from sim.teleop.keyboard import open_keyboard
from sim.teleop.spacemouse import open_spacemouse

DEVICES = ("keyboard", "gamepad", "spacemouse")
POLL_S = 0.1


class Operator:
    """A person with one or more devices. Every method may be called by any thread.

    on_stop: called at once, from a device's own thread, when STOP is pressed.
    """

    def __init__(self, devices: Sequence[Device], on_stop: Callable[[], None] = lambda: None):
        self.devices, self.on_stop = list(devices), on_stop
        self._pressed: list[Command] = []
        self._changed = threading.Condition()
        for device in self.devices:
            device.on_command = self.press
            device.start()

    def twist_w(self) -> np.ndarray:
        """Return the commanded tool twist (6,), m/s and rad/s in the base frame."""
        return twist_w(np.sum([device.push() for device in self.devices], axis=0))

    def press(self, command: Command) -> None:
        """Queue a command as a device does."""
        if command is Command.STOP:
            self.on_stop()
        with self._changed:
            self._pressed.append(command)
            self._changed.notify_all()

    def take(self, *wanted: Command) -> list[Command]:
        """Return and remove the queued commands among `wanted`, in order."""
        with self._changed:
            taken = [command for command in self._pressed if command in wanted]
            self._pressed = [command for command in self._pressed if command not in wanted]
        return taken

    def forget(self) -> None:
        """Drop every queued command but a stop."""
        with self._changed:
            self._pressed = [command for command in self._pressed if command is Command.STOP]

    def confirm(self) -> None:
        """Wait for CONFIRM. KeyboardInterrupt on STOP; UserError when no device is left that could."""
        self.forget()
        while True:
            if self.take(Command.STOP):
                raise KeyboardInterrupt
            if self.take(Command.CONFIRM):
                return
            if all(device.lost.is_set() for device in self.devices if device.confirms):
                raise UserError("nobody is there to confirm: the keyboard was closed")
            with self._changed:
                self._changed.wait(POLL_S)

    @property
    def lost(self) -> bool:
        """Whether every device has gone away."""
        return all(device.lost.is_set() for device in self.devices)

    def close(self) -> None:
        for device in self.devices:
            device.close()

    def __enter__(self) -> "Operator":
        return self

    def __exit__(self, *_) -> None:
        self.close()


def open_operator(device: str) -> Operator:
    """Return the keyboard and the named device as one. UserError when one is missing."""
    open_extra = {"gamepad": open_gamepad, "spacemouse": open_spacemouse}.get(device)
    extra = [open_extra()] if open_extra else []
    return Operator([open_keyboard(), *extra])
