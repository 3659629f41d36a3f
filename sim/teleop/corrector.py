"""An operator's tool twist as joint targets: differential inverse kinematics from the last executed action.

Every step starts from the position and step that the motion guard let through: an intervention causes no jump, and
nothing winds up while the guard holds the arm back. Joint steps change within the policy's acceleration, so that an
arm in motion first decelerates along its path.
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
SPEED_SHARE = 0.8  # of the policy's speed; the rest lets the guard catch up
ACCEL_SHARE = 0.95  # of the policy's acceleration


class Corrector(Protocol):
    """What acts instead of the policy, from `begin` to `end` of an intervention.

    `end` returns what the policy goes on from: the given observation, or a newer one where ending took time.
    """

    reason: str

    def begin(self, observation: Observation) -> None: ...
    def act(self, observation: Observation) -> np.ndarray: ...
    def end(self, observation: Observation) -> Observation: ...


class DifferentialIk:
    """Differential inverse kinematics of the tool point, damped near singular poses."""

    def __init__(self, robot: Robot):
        self._dh, self._mount, self._tcp = robot.dh_m, robot.mount, np.array([*robot.tcp_from_flange_m, 1.0])

    def joint_step(self, joints_rad: np.ndarray, shift_w: np.ndarray) -> np.ndarray:
        """Return the step (joints,) rad that moves the tool by `shift_w` (6,): m, then rad about the base frame's axes.

        The smallest one; near singular poses it is damped and the tool lags. The Jacobian is taken in the middle of
        the step (second-order Runge-Kutta), so that a straight motion stays straight.
        """
        half = self._solve(joints_rad, shift_w) / 2
        return self._solve(joints_rad + half, shift_w)

    def _solve(self, joints_rad: np.ndarray, shift_w: np.ndarray) -> np.ndarray:
        links = frames(self._dh, joints_rad, self._mount)
        u, sizes, vt = np.linalg.svd(jacobian(links, (links[-1] @ self._tcp)[:3]), full_matrices=False)
        lack = np.maximum(1 - (sizes / SINGULAR_M) ** 2, 0.0)
        return vt.T @ (sizes / (sizes**2 + lack * DAMPING_M**2) * (u.T @ shift_w))


class TwistCorrector:
    """Moves the tool with the operator's twist; the gripper toggles on command."""

    reason = "operator"

    def __init__(self, robot: Robot, operator: Operator, guard: MotionGuard):
        self._operator, self._guard, self._tool = operator, guard, DifferentialIk(robot)
        self._joints, self._period_s = robot.joints, robot.control_period_s
        self._low, self._high = robot.action_min[: robot.joints], robot.action_max[: robot.joints]
        self._top = SPEED_SHARE * robot.policy_speed_rad_s * self._period_s
        self._change = ACCEL_SHARE * robot.stream_accel_rad_s2 * self._period_s**2

    def begin(self, observation: Observation) -> None:
        self._operator.take(Command.GRIPPER)
        self._opening = float(self._guard.sent[-1])

    def act(self, observation: Observation) -> np.ndarray:
        """Return the next target (D,)."""
        for _ in self._operator.take(Command.GRIPPER):
            self._opening = 0.0 if self._opening > 0.5 else 1.0
        here, step = self._guard.sent[: self._joints].astype(float), self._guard.step_rad
        wanted = self._tool.joint_step(here, self._operator.twist_w() * self._period_s)
        wanted *= min(1.0, self._top / max(float(np.abs(wanted).max()), 1e-12))
        change = wanted - step
        change *= min(1.0, self._change / max(float(np.abs(change).max()), 1e-12))
        # An arm that starts outside its range may stay there and come back.
        low, high = np.minimum(self._low, here), np.maximum(self._high, here)
        return np.array([*np.clip(here + step + change, low, high), self._opening], np.float32)

    def end(self, observation: Observation) -> Observation:
        """Return the observation: nothing has moved meanwhile."""
        return observation
