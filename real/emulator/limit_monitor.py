"""Checks the emulated arm against its limits: the ServoJ targets it is sent and the commands its drives get.

Independent of what it checks: it takes the limits from the robot's description alone and shares no code with servo,
motion guard or driver.
"""

import numpy as np

from sim.robots.fairino_fr3 import SERVO_PERIOD_S
from sim.robots.robot import Robot

TOLERANCE_DEG = 0.01
MAX_KEPT = 20


class LimitMonitor:
    """Counts what exceeds a limit; `violations` describes the first MAX_KEPT."""

    def __init__(self, robot: Robot):
        self._low_deg, self._high_deg = np.rad2deg(robot.position_min_rad), np.rad2deg(robot.position_max_rad)
        self._arm_step_deg = np.rad2deg(robot.max_speed_rad_s) * SERVO_PERIOD_S
        self._policy_step_deg = float(np.rad2deg(robot.policy_speed_rad_s)) * SERVO_PERIOD_S
        self.commands = self.targets = 0
        self.violation_count = 0
        self.violations: list[str] = []
        self.max_target_deg_s = self.max_command_deg_s = 0.0
        self.reset()

    def reset(self) -> None:
        """Note that the arm was placed somewhere: no step leads there."""
        self._command: np.ndarray | None = None
        self._target: tuple[int, np.ndarray] | None = None

    def start_stream(self) -> None:
        """Note that servo mode begins: the next target follows no other."""
        self._target = None

    def record_target(self, number: int, joint_deg: np.ndarray) -> None:
        """Record a ServoJ target that the controller accepted; a gap in its number counts the targets lost
        before it."""
        self.targets += 1
        if self._target is not None and (periods := number - self._target[0]) > 0:
            speed = np.abs(joint_deg - self._target[1]) / periods / SERVO_PERIOD_S
            self.max_target_deg_s = max(self.max_target_deg_s, float(speed.max()))
            allowed = self._policy_step_deg / SERVO_PERIOD_S + TOLERANCE_DEG / SERVO_PERIOD_S
            self._check("ServoJ target faster than a policy is allowed", speed > allowed)
        self._check("ServoJ target outside the soft limits", self._is_outside(joint_deg))
        self._target = (number, joint_deg.copy())

    def record_command(self, joint_deg: np.ndarray) -> None:
        """Record the command of the drives in this cycle."""
        self.commands += 1
        if self._command is not None:
            step = np.abs(joint_deg - self._command)
            self.max_command_deg_s = max(self.max_command_deg_s, float(step.max()) / SERVO_PERIOD_S)
            self._check("command faster than the arm", step > self._arm_step_deg + TOLERANCE_DEG)
        self._check("command outside the soft limits", self._is_outside(joint_deg))
        self._command = joint_deg.copy()

    def report(self) -> dict:
        return {
            "commands": self.commands, "targets": self.targets,
            "violation_count": self.violation_count, "violations": self.violations,
            "max_target_deg_s": self.max_target_deg_s, "max_command_deg_s": self.max_command_deg_s,
        }  # fmt: skip

    def _is_outside(self, joint_deg: np.ndarray) -> np.ndarray:
        return (joint_deg < self._low_deg - TOLERANCE_DEG) | (joint_deg > self._high_deg + TOLERANCE_DEG)

    def _check(self, what: str, violated: np.ndarray) -> None:
        if violated.any():
            self.violation_count += 1
            if len(self.violations) < MAX_KEPT:
                self.violations.append(f"{what}: joint {int(np.argmax(violated)) + 1}, cycle {self.commands}")
