"""A way back that needs no knowledge of the scene: let go, rise, and where it is wanted return to a pose."""

import numpy as np
from ruckig import ControlInterface, InputParameter, OutputParameter, Result, Ruckig

from sim.robots.robot import Robot
from sim.teleop.corrector import DifferentialIk

SPEED_SHARE, ACCEL_SHARE = 0.8, 0.6  # of what a policy is allowed
OPEN_S = 0.4  # for which the arm rests while the fingers open
RISE_M, RISE_STEP_M = 0.10, 0.01


class Retreat:
    """Actions from the last one executed until the tool is RISE_M higher; `done` then."""

    def __init__(
        self, robot: Robot, opening: float, executed: np.ndarray, step_rad: np.ndarray, then: np.ndarray | None = None
    ):
        """opening: of the gripper that lets go; executed: (D,) the last action; step_rad: (joints,) how far that went
        beyond the one before; then: (joints,) where to go from there."""
        n = robot.joints
        self._robot, self._opening = robot, opening
        self._targets = [] if then is None else [then]
        self._rests = round(OPEN_S / robot.control_period_s)
        self._otg, self._out = Ruckig(n, robot.control_period_s), OutputParameter(n)
        self._plan = InputParameter(n)
        speed, accel = SPEED_SHARE * robot.policy_speed_rad_s, ACCEL_SHARE * robot.stream_accel_rad_s2
        self._plan.max_velocity, self._plan.max_acceleration = [speed] * n, [accel] * n
        self._plan.max_jerk = [10 * accel] * n
        self._plan.current_position = executed[:n].tolist()
        self._plan.current_velocity = (step_rad / robot.control_period_s).tolist()
        self._plan.control_interface = ControlInterface.Velocity
        self.done = False

    def act(self) -> np.ndarray:
        """Return the next action (D,)."""
        arrived = self._otg.update(self._plan, self._out) == Result.Finished
        self._out.pass_to_input(self._plan)
        if self._rests:
            self._rests -= 1
            arrived = not self._rests
        if arrived:
            self._go_on()
        return np.array([*self._plan.current_position, self._opening], np.float32)

    def _go_on(self) -> None:
        if self._plan.control_interface == ControlInterface.Velocity:  # it rests
            self._plan.control_interface = ControlInterface.Position
            self._targets.insert(0, raised(self._robot, np.array(self._plan.current_position)))
        self.done = not self._targets
        if self._targets:
            self._plan.target_position = self._targets.pop(0).tolist()


def raised(robot: Robot, joints_rad: np.ndarray) -> np.ndarray:
    """Return the joints (joints,) rad that hold the tool RISE_M higher, within their range."""
    tool, up_w, pose = DifferentialIk(robot), np.array([0, 0, RISE_STEP_M, 0, 0, 0]), joints_rad
    for _ in range(round(RISE_M / RISE_STEP_M)):
        pose = pose + tool.joint_step(pose, up_w)
    return np.clip(pose, robot.action_min[: robot.joints], robot.action_max[: robot.joints])
