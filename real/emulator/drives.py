"""The commands of the emulated controller's drives, one 8 ms cycle after another. Degrees.

Three kinds of motion: towards the last ServoJ target and hold there, along a planned path, or braking.
No cycle exceeds the joints' speed, whatever was requested.
"""

import numpy as np

from sim.robots.fairino_fr3 import SERVO_PERIOD_S

# 180 deg/s over the 27 deg of the data sheet's emergency stop (J1, manual 3.1).
BRAKE_DEG_S2 = 600.0


class Drives:
    """The owner locks. `target_deg` (6,) is the command of this cycle."""

    def __init__(self, joint_deg: np.ndarray, speed_deg_s: np.ndarray):
        self._step_deg = np.asarray(speed_deg_s, float) * SERVO_PERIOD_S
        self.paused = False
        self.reset(joint_deg)

    def reset(self, joint_deg: np.ndarray) -> None:
        """Stand still at `joint_deg`."""
        self.target_deg = np.array(joint_deg, float)
        self.goal_deg = self.target_deg.copy()
        self.speed_deg_s = np.zeros(len(self.target_deg))
        self._path: list[np.ndarray] = []
        self._braking = self.paused = False

    @property
    def path_cycles(self) -> int:
        """Cycles of planned motion still to come."""
        return len(self._path)

    @property
    def end_deg(self) -> np.ndarray:
        """The end of everything planned."""
        return self._path[-1] if self._path else self.goal_deg

    def servo(self, goal_deg: np.ndarray) -> None:
        """Go towards `goal_deg` at the joints' speed at most and hold there."""
        self._path, self._braking, self.paused = [], False, False
        self.goal_deg = np.array(goal_deg, float)

    def follow(self, path_deg: np.ndarray) -> np.ndarray:
        """Append (T, 6) planned targets, one a cycle; returns the end of everything planned."""
        self._braking = False
        self._path += list(path_deg)
        return self.end_deg

    def pause(self) -> bool:
        """Hold where the path has led so far until `resume`; False when nothing is planned."""
        self.paused = bool(self._path)
        return self.paused

    def resume(self) -> bool:
        """Continue the path; False when nothing is paused."""
        was, self.paused = self.paused, False
        return was

    def brake(self) -> None:
        """Decelerate to rest; what was planned is dropped."""
        self._path, self._braking, self.paused = [], True, False

    def advance(self) -> np.ndarray:
        """Return the next cycle's command."""
        before = self.target_deg
        if self._braking:
            slower = np.abs(self.speed_deg_s) - BRAKE_DEG_S2 * SERVO_PERIOD_S
            speed = np.sign(self.speed_deg_s) * np.maximum(slower, 0.0)
            self.goal_deg = before + speed * SERVO_PERIOD_S
        elif self._path and not self.paused:
            self.goal_deg = self._path.pop(0)
        self.target_deg = before + np.clip(self.goal_deg - before, -self._step_deg, self._step_deg)
        self.speed_deg_s = (self.target_deg - before) / SERVO_PERIOD_S
        return self.target_deg
