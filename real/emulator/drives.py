"""Where the emulated controller commands its joints, one 8 ms cycle after another. Degrees.

Three ways to move: towards the last ServoJ target and hold there, along a planned path, or braking.
No cycle exceeds the joints' speed, whatever was asked.
"""

import numpy as np

from sim.robots.fairino_fr3 import SERVO_PERIOD_S

# 180 deg/s over the 27 deg of the data sheet's emergency stop (J1, manual 3.1).
BRAKE_DEG_S2 = 600.0


class Drives:
    """The owner locks. `target_deg` (6,) is what is commanded in this cycle."""

    def __init__(self, joint_deg: np.ndarray, speed_deg_s: np.ndarray):
        self._step_deg = np.asarray(speed_deg_s, float) * SERVO_PERIOD_S
        self.reset(joint_deg)

    def reset(self, joint_deg: np.ndarray) -> None:
        """Stand still at `joint_deg`."""
        self.target_deg = np.array(joint_deg, float)
        self.goal_deg = self.target_deg.copy()
        self.speed_deg_s = np.zeros(len(self.target_deg))
        self._path: list[np.ndarray] = []
        self._braking = False

    @property
    def path_cycles(self) -> int:
        """Cycles of planned motion still to come."""
        return len(self._path)

    @property
    def end_deg(self) -> np.ndarray:
        """Where all that was planned ends."""
        return self._path[-1] if self._path else self.goal_deg

    def servo(self, goal_deg: np.ndarray) -> None:
        """Go towards `goal_deg` at the joints' speed at most and hold there."""
        self._path, self._braking = [], False
        self.goal_deg = np.array(goal_deg, float)

    def follow(self, path_deg: np.ndarray) -> None:
        """Append (T, 6) planned targets, one a cycle."""
        self._braking = False
        self._path += list(path_deg)

    def brake(self) -> None:
        """Come to rest as the arm does; what was planned is dropped."""
        self._path, self._braking = [], True

    def advance(self) -> np.ndarray:
        """The next cycle's target."""
        before = self.target_deg
        if self._braking:
            slower = np.abs(self.speed_deg_s) - BRAKE_DEG_S2 * SERVO_PERIOD_S
            speed = np.sign(self.speed_deg_s) * np.maximum(slower, 0.0)
            self.goal_deg = before + speed * SERVO_PERIOD_S
        elif self._path:
            self.goal_deg = self._path.pop(0)
        self.target_deg = before + np.clip(self.goal_deg - before, -self._step_deg, self._step_deg)
        self.speed_deg_s = (self.target_deg - before) / SERVO_PERIOD_S
        return self.target_deg
