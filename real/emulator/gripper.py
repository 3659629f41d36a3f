"""The gripper as the emulated controller drives it: configuration, activation and motion at a constant speed."""

import numpy as np

from real.fairino.fault_codes import Code
from sim.robots.fairino_fr3 import SERVO_PERIOD_S

INDICES = range(1, 9)  # numbers of configured grippers
MAX_CONFIG = 255
NO_VALUE = -1  # what GetGripperConfig answers before SetGripperConfig


class Gripper:
    """Openings 0 (closed) .. 1 (open). The owner locks.

    speed_per_s: openings a second at 100 %. active: bit n is set while the gripper of index n is active.
    """

    def __init__(self, speed_per_s: float, opening: float):
        self._full_speed_per_s = speed_per_s
        self.config = [NO_VALUE] * 4  # company, device, software version, bus
        self.active = 0
        self.fault = 0  # as the gripper itself reports
        self.reset(opening)

    def reset(self, opening: float) -> None:
        """Stand still at `opening`."""
        self.opening = self.target = opening
        self._speed_per_s = self._full_speed_per_s

    @property
    def moving(self) -> bool:
        return abs(self.opening - self.target) > 1e-6

    def configure(self, company: int, device: int, software: int, bus: int) -> int:
        config = [company, device, software, bus]
        if not all(isinstance(value, int) and 0 <= value <= MAX_CONFIG for value in config):
            return Code.WRONG_VALUE
        self.config = config
        return Code.OK

    def activate(self, index: int, action: int) -> int:
        """Take up an action: 0 resets, 1 activates."""
        if index not in INDICES or action not in (0, 1):
            return Code.WRONG_VALUE
        bit = 1 << int(index)
        self.active = self.active | bit if action else self.active & ~bit
        return Code.OK

    def is_active(self, index: int) -> bool:
        return bool(self.active >> int(index) & 1) if index in INDICES else False

    def move(self, percent: int, speed_percent: int) -> int:
        if not (0 <= percent <= 100 and 0 < speed_percent <= 100):
            return Code.WRONG_VALUE
        self.target = percent / 100
        self._speed_per_s = self._full_speed_per_s * speed_percent / 100
        return Code.OK

    def stop(self) -> None:
        self.target = self.opening

    def power_off(self) -> None:
        self.stop()
        self.active = 0

    def advance(self, speed_factor: float) -> float:
        """Return the opening one servo period later. speed_factor: of the episode's own gripper."""
        step = self._speed_per_s * speed_factor * SERVO_PERIOD_S
        self.opening += float(np.clip(self.target - self.opening, -step, step))
        return self.opening
