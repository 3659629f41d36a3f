"""Inverse kinematics of the tool for the expert and for start poses: differential IK by mink."""

from collections.abc import Sequence

import mink
import mujoco
import numpy as np

from sim.robots.mjcf import arm_spec, compiled
from sim.robots.robot import Robot

POSITION_TOLERANCE_M = 2e-4
ROTATION_TOLERANCE_RAD = 2e-3
POSE_DIMENSION = 6  # an arm with more joints is redundant
POSTURE_COST = 0.1  # of a redundant arm's joints away from home, beside 1 a metre of the tool
CONVERGED_RAD = 2e-3  # a step smaller than this ends the search for the posture


def tool_down(yaw_rad: float) -> np.ndarray:
    """Return the rotation (3, 3) of the tool in the base frame: z down, fingers opening along `yaw_rad`."""
    c, s = np.cos(yaw_rad), np.sin(yaw_rad)
    y = np.array([c, s, 0.0])
    z = np.array([0.0, 0.0, -1.0])
    return np.column_stack([np.cross(y, z), y, z])


class ToolKinematics:
    """Forward and inverse kinematics of the site `tcp` in the base frame."""

    def __init__(self, robot: Robot):
        self._model = compiled(robot, arm_spec(robot))
        self._configuration = mink.Configuration(self._model)
        self._qpos = np.array([self._model.joint(n).qposadr[0] for n in robot.joint_names])
        self._task = mink.FrameTask("tcp", "site", position_cost=1.0, orientation_cost=0.5, lm_damping=1e-3)
        self._limits = [mink.ConfigurationLimit(self._model)]
        self._posture = _home_posture(self._model, robot) if robot.joints > POSE_DIMENSION else None

    def forward(self, joints_rad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return position (3,) in m and rotation (3, 3) of the tool."""
        self._set(joints_rad)
        pose = self._configuration.get_transform_frame_to_world("tcp", "site")
        return pose.translation(), pose.rotation().as_matrix()

    def inverse(self, pos_w: np.ndarray, rotation_w: np.ndarray, near_rad: np.ndarray) -> np.ndarray | None:
        """Return joint angles (joints,) in rad that reach the pose, found from `near_rad`; None if not reached."""
        self._set(near_rad)
        rotation = mink.SO3.from_matrix(rotation_w)
        self._task.set_target(mink.SE3.from_rotation_and_translation(rotation, np.asarray(pos_w, float)))
        if self._posture is not None:
            self._approach(self._posture)
        for _ in range(60):
            error = self._task.compute_error(self._configuration)
            if np.linalg.norm(error[:3]) < POSITION_TOLERANCE_M and np.linalg.norm(error[3:]) < ROTATION_TOLERANCE_RAD:
                return self._configuration.q[self._qpos].copy()
            self._step([self._task])
        return None

    def _approach(self, posture: mink.PostureTask) -> None:
        """Move near the pose in the posture closest to home; without it, a redundant arm drifts from pose to pose."""
        for _ in range(40):
            if np.abs(self._step([self._task, posture])).max() < CONVERGED_RAD:
                return

    def _step(self, tasks: list) -> np.ndarray:
        step = mink.solve_ik(self._configuration, tasks, 1.0, "daqp", limits=self._limits)
        self._configuration.integrate_inplace(step, 1.0)
        return step

    def _set(self, joints_rad: np.ndarray) -> None:
        q = self._configuration.q.copy()
        q[self._qpos] = joints_rad
        self._configuration.update(q)


def _home_posture(model: mujoco.MjModel, robot: Robot) -> mink.PostureTask:
    """Return the task of keeping every joint but the last at home; the last turns the wrist, which the pose decides."""
    cost, target = np.zeros(model.nv), mink.Configuration(model).q.copy()
    cost[[model.joint(name).dofadr[0] for name in robot.joint_names[:-1]]] = POSTURE_COST
    target[[model.joint(name).qposadr[0] for name in robot.joint_names]] = robot.home_rad
    posture = mink.PostureTask(model, cost)
    posture.set_target(target)
    return posture


class BenchKinematics:
    """The tool's kinematics as the bench sees it: the arm may stand askew, its encoders may be off.

    Joint angles are those the encoders show; positions and rotations are in the world frame.
    """

    def __init__(self, robot: Robot):
        self._tool = ToolKinematics(robot)
        self.stand(np.zeros(3), 0.0, np.zeros(robot.joints))

    def stand(
        self, base_pos_w: Sequence[float] | np.ndarray, base_yaw_rad: float, encoder_bias_rad: np.ndarray
    ) -> None:
        """Set where the arm's foot is, m and rad, and how much more than the truth the encoders show, (joints,) rad."""
        c, s = np.cos(base_yaw_rad), np.sin(base_yaw_rad)
        self._base_w, self._bias_rad = np.array(base_pos_w, float), encoder_bias_rad
        self._turn_w = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])

    def forward(self, joints_rad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return position (3,) in m and rotation (3, 3) of the tool."""
        pos, rotation = self._tool.forward(joints_rad - self._bias_rad)
        return self._turn_w @ pos + self._base_w, self._turn_w @ rotation

    def inverse(
        self, pos_w: Sequence[float] | np.ndarray, rotation_w: np.ndarray, near_rad: np.ndarray
    ) -> np.ndarray | None:
        """Return joint angles (joints,) in rad that reach the pose, found from `near_rad`; None if not reached."""
        pos = self._turn_w.T @ (np.asarray(pos_w, float) - self._base_w)
        found = self._tool.inverse(pos, self._turn_w.T @ rotation_w, near_rad - self._bias_rad)
        return None if found is None else found + self._bias_rad
