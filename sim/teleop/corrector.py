"""An operator's tool twist as joint targets: differential inverse kinematics from the last command sent.

Everything begins at what the motion guard really sent, position and pace: taking over is no jump, and
where the guard holds the arm back nothing winds up. The joints change their pace within the policy's
acceleration, so that an arm taken over in motion brakes along its path first.
"""

from typing import Protocol

import numpy as np

from sim.control.dh import frames, jacobian
from sim.core.contract import Observation
from sim.guard.motion_guard import MotionGuard
from sim.robots.robot import Robot
from sim.teleop.device import Command
from sim.teleop.operator import Operator

SINGULAR_M = 0.05  # below this singular value the solution is damped (Nakamura and Hanafusa 1986)
DAMPING_M = 0.05
PACE_SHARE = 0.8  # of the policy's speed; the rest is the guard's, to catch up
CHANGE_SHARE = 0.95  # of the policy's acceleration


class Corrector(Protocol):
    """Who acts in the policy's place between `begin` and `end`."""

    reason: str

    def begin(self, observation: Observation) -> None: ...
    def act(self, observation: Observation) -> np.ndarray: ...
    def end(self) -> None: ...


class ToolStep:
    """How the joints must move for the tool to move."""

    def __init__(self, robot: Robot):
        self._dh, self._mount, self._tcp = robot.dh_m, robot.mount, np.array([*robot.tcp_from_flange_m, 1.0])

    def joints(self, joints_rad: np.ndarray, shift_w: np.ndarray) -> np.ndarray:
        """(joints,) rad that move the tool by `shift_w` (6,): m, then rad about the axes of the base frame.

        Of the least size, and damped near singular poses, where the tool then lags. Taken at the middle of the
        step (Runge-Kutta of second order), so that a straight motion stays straight.
        """
        half = self._solve(joints_rad, shift_w) / 2
        return self._solve(joints_rad + half, shift_w)

    def _solve(self, joints_rad: np.ndarray, shift_w: np.ndarray) -> np.ndarray:
        links = frames(self._dh, joints_rad, self._mount)
        u, sizes, vt = np.linalg.svd(jacobian(links, (links[-1] @ self._tcp)[:3]), full_matrices=False)
        lack = np.maximum(1 - (sizes / SINGULAR_M) ** 2, 0.0)
        return vt.T @ (sizes / (sizes**2 + lack * DAMPING_M**2) * (u.T @ shift_w))


class TwistCorrector:
    """Drives the tool as the operator pushes; the gripper opens and closes by turns."""

    reason = "operator"

    def __init__(self, robot: Robot, operator: Operator, guard: MotionGuard):
        self._operator, self._guard, self._tool = operator, guard, ToolStep(robot)
        self._joints, self._period_s = robot.joints, robot.control_period_s
        self._low, self._high = robot.action_min[: robot.joints], robot.action_max[: robot.joints]
        self._top = PACE_SHARE * robot.policy_speed_rad_s * self._period_s
        self._change = CHANGE_SHARE * robot.stream_accel_rad_s2 * self._period_s**2

    def begin(self, observation: Observation) -> None:
        self._operator.take(Command.GRIPPER)
        self._opening = float(self._guard.sent[-1])

    def act(self, observation: Observation) -> np.ndarray:
        """(D,) the next target."""
        for _ in self._operator.take(Command.GRIPPER):
            self._opening = 0.0 if self._opening > 0.5 else 1.0
        here, pace = self._guard.sent[: self._joints].astype(float), self._guard.step_rad
        wanted = self._tool.joints(here, self._operator.twist_w() * self._period_s)
        wanted *= min(1.0, self._top / max(float(np.abs(wanted).max()), 1e-12))
        change = wanted - pace
        change *= min(1.0, self._change / max(float(np.abs(change).max()), 1e-12))
        # An arm that begins outside its range may stay there and come back.
        low, high = np.minimum(self._low, here), np.maximum(self._high, here)
        return np.array([*np.clip(here + pace + change, low, high), self._opening], np.float32)

    def end(self) -> None:
        pass
