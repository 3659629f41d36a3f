"""An independent witness on the emulator: what was asked of the arm and what its drives were told.

Knows the limits from the robot's description alone and shares no code with servo, guard or driver.
"""

import numpy as np

from sim.robots.fairino_fr3 import SERVO_PERIOD_S
from sim.robots.robot import Robot

TOLERANCE_DEG = 0.01
MAX_KEPT = 20


class Witness:
    """Counts what lies beyond a limit; `violations` says the first few in words."""

    def __init__(self, robot: Robot):
        self._low_deg, self._high_deg = np.rad2deg(robot.position_min_rad), np.rad2deg(robot.position_max_rad)
        self._arm_step_deg = np.rad2deg(robot.max_speed_rad_s) * SERVO_PERIOD_S
        self._policy_step_deg = float(np.rad2deg(robot.policy_speed_rad_s)) * SERVO_PERIOD_S
        self.commands = self.targets = 0
        self.beyond = 0
        self.violations: list[str] = []
        self.worst_target_deg_s = self.worst_command_deg_s = 0.0
        self.forget()

    def forget(self) -> None:
        """The arm was put somewhere by hand: no step leads there."""
        self._command: np.ndarray | None = None
        self._target: tuple[int, np.ndarray] | None = None

    def saw_target(self, number: int, joint_deg: np.ndarray) -> None:
        """A ServoJ target that the controller took; its number tells how many were lost since the last."""
        self.targets += 1
        if self._target is not None and (periods := number - self._target[0]) > 0:
            speed = np.abs(joint_deg - self._target[1]) / periods / SERVO_PERIOD_S
            self.worst_target_deg_s = max(self.worst_target_deg_s, float(speed.max()))
            allowed = self._policy_step_deg / SERVO_PERIOD_S + TOLERANCE_DEG / SERVO_PERIOD_S
            self._judge("a ServoJ target faster than a policy may go", speed > allowed)
        self._judge("a ServoJ target outside the soft limits", self._is_outside(joint_deg))
        self._target = (number, joint_deg.copy())

    def begins(self) -> None:
        """Servo mode begins: the next target follows no other."""
        self._target = None

    def saw_command(self, joint_deg: np.ndarray) -> None:
        """What the drives are told in this cycle."""
        self.commands += 1
        if self._command is not None:
            step = np.abs(joint_deg - self._command)
            self.worst_command_deg_s = max(self.worst_command_deg_s, float(step.max()) / SERVO_PERIOD_S)
            self._judge("a command faster than the arm", step > self._arm_step_deg + TOLERANCE_DEG)
        self._judge("a command outside the soft limits", self._is_outside(joint_deg))
        self._command = joint_deg.copy()

    def report(self) -> dict:
        return {
            "commands": self.commands, "targets": self.targets, "beyond": self.beyond, "violations": self.violations,
            "worst_target_deg_s": self.worst_target_deg_s, "worst_command_deg_s": self.worst_command_deg_s,
        }  # fmt: skip

    def _is_outside(self, joint_deg: np.ndarray) -> np.ndarray:
        return (joint_deg < self._low_deg - TOLERANCE_DEG) | (joint_deg > self._high_deg + TOLERANCE_DEG)

    def _judge(self, what: str, wrong: np.ndarray) -> None:
        if wrong.any():
            self.beyond += 1
            if len(self.violations) < MAX_KEPT:
                self.violations.append(f"{what}: joint {int(np.argmax(wrong)) + 1}, cycle {self.commands}")
