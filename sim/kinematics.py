"""Inverse kinematics of the tool for the expert and for start poses: differential IK by mink."""

import mink
import mujoco
import numpy as np

from sim.robot import Robot

POSITION_TOLERANCE_M = 2e-4
ROTATION_TOLERANCE_RAD = 2e-3


def tool_down(yaw_rad: float) -> np.ndarray:
    """(3, 3) rotation of the tool in the base frame: z down, fingers opening along `yaw_rad`."""
    c, s = np.cos(yaw_rad), np.sin(yaw_rad)
    y = np.array([c, s, 0.0])
    z = np.array([0.0, 0.0, -1.0])
    return np.column_stack([np.cross(y, z), y, z])


class ToolKinematics:
    """Forward and inverse kinematics of the site `tcp` in the base frame."""

    def __init__(self, robot: Robot):
        self._model = mujoco.MjModel.from_xml_path(str(robot.mjcf))
        self._configuration = mink.Configuration(self._model)
        self._qpos = np.array([self._model.joint(n).qposadr[0] for n in robot.joint_names])
        self._task = mink.FrameTask("tcp", "site", position_cost=1.0, orientation_cost=0.5, lm_damping=1e-3)
        self._limits = [mink.ConfigurationLimit(self._model)]

    def forward(self, joints_rad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Position (3,) in m and rotation (3, 3) of the tool."""
        self._set(joints_rad)
        pose = self._configuration.get_transform_frame_to_world("tcp", "site")
        return pose.translation(), pose.rotation().as_matrix()

    def inverse(self, pos_w: np.ndarray, rotation_w: np.ndarray, near_rad: np.ndarray) -> np.ndarray | None:
        """Joint angles (joints,) in rad that reach the pose, found from `near_rad`; None if not reached."""
        self._set(near_rad)
        rotation = mink.SO3.from_matrix(rotation_w)
        self._task.set_target(mink.SE3.from_rotation_and_translation(rotation, np.asarray(pos_w, float)))
        for _ in range(60):
            error = self._task.compute_error(self._configuration)
            if np.linalg.norm(error[:3]) < POSITION_TOLERANCE_M and np.linalg.norm(error[3:]) < ROTATION_TOLERANCE_RAD:
                return self._configuration.q[self._qpos].copy()
            step = mink.solve_ik(self._configuration, [self._task], 1.0, "daqp", limits=self._limits)
            self._configuration.integrate_inplace(step, 1.0)
        return None

    def _set(self, joints_rad: np.ndarray) -> None:
        q = self._configuration.q.copy()
        q[self._qpos] = joints_rad
        self._configuration.update(q)
