"""Poses from which the wrist camera views the calibration board, and the results as the simulator's camera terms."""

import mujoco
import numpy as np
from scipy.spatial.transform import Rotation

from real.calibrate.estimates import Estimate
from real.calibrate.hand_eye import OPENCV_FROM_MUJOCO, HandEye, Intrinsics
from sim.planning.kinematics import ToolKinematics
from sim.robots.robot import FixedCamera, Robot

DISTANCES_M = (0.23, 0.30)  # from the wrist camera to the board
TILTS_RAD = (0.0, 0.25, 0.4)
DIRECTIONS = 5  # of the tilt
# About the line of sight, alternating. The wider, the better the offsets of J2..J4 are separated from the mount's tilt
# (at 0.35 with two to three times the standard deviation); above 0.8 the arm does not reach all poses.
SPIN_RAD = 0.8


class WristView:
    """The wrist camera as designed: its mount on the tool and its field of view."""

    def __init__(self, robot: Robot):
        self.kinematics = ToolKinematics(robot)
        model = mujoco.MjModel.from_xml_path(str(robot.mjcf))
        data = mujoco.MjData(model)
        mujoco.mj_kinematics(model, data)
        mujoco.mj_camlight(model, data)
        camera, tool = model.camera(robot.wrist_cameras[0].name).id, model.site("tcp").id
        self.fovy_deg = float(model.cam_fovy[camera])
        tool_rotation = data.site_xmat[tool].reshape(3, 3)
        self.tool_from_camera = np.eye(4)
        self.tool_from_camera[:3, :3] = tool_rotation.T @ data.cam_xmat[camera].reshape(3, 3) @ OPENCV_FROM_MUJOCO
        self.tool_from_camera[:3, 3] = tool_rotation.T @ (data.cam_xpos[camera] - data.site_xpos[tool])

    def tool_pose(self, joints_rad: np.ndarray) -> np.ndarray:
        """Return (4, 4) pose of the tool in the base frame."""
        pose = np.eye(4)
        pose[:3, 3], pose[:3, :3] = self.kinematics.forward(joints_rad)
        return pose

    def viewpoints(self, board_centre_b: np.ndarray, near_rad: np.ndarray) -> list[np.ndarray]:
        """Return joint angles (joints,) from which the camera views the board's centre from near and far, straight and
        tilted; poses out of the arm's reach are left out.
        """
        _, rotation = self.kinematics.forward(near_rad)
        optical_axes = rotation @ self.tool_from_camera[:3, :3]
        found, spin = [], SPIN_RAD
        for distance_m in DISTANCES_M:
            for tilt_rad in TILTS_RAD:
                for turn in range(DIRECTIONS if tilt_rad else 1):
                    axis = np.array([np.cos(2 * np.pi * turn / DIRECTIONS), np.sin(2 * np.pi * turn / DIRECTIONS), 0.0])
                    spin = -spin
                    level = _looking_down(optical_axes)
                    camera = Rotation.from_rotvec(tilt_rad * axis).as_matrix() @ level @ _about_z(spin)
                    pose = np.eye(4)
                    pose[:3, :3], pose[:3, 3] = camera, board_centre_b - distance_m * camera[:, 2]
                    tool = pose @ np.linalg.inv(self.tool_from_camera)
                    joints = self.kinematics.inverse(tool[:3, 3], tool[:3, :3], near_rad)
                    found += [] if joints is None else [joints]
        return found

    def terms(self, found: HandEye) -> dict[str, Estimate]:
        """Return the deviation of camera and encoders from design, in the terms of `conf/randomize`: one range for all
        axes."""
        mount, intrinsics = found.mount, found.intrinsics
        # The tool's axes are those of the gripper that carries the camera.
        moved = mount.pose[:3, 3] - self.tool_from_camera[:3, 3]
        # A rotation about the camera's own axes, as the simulator applies it.
        turn = self.tool_from_camera[:3, :3].T @ mount.pose[:3, :3]
        tilt = OPENCV_FROM_MUJOCO @ Rotation.from_matrix(turn).as_rotvec()
        return {
            "wrist_pos_m": Estimate(moved, mount.pos_std_m),
            "wrist_tilt_rad": Estimate(tilt, mount.rotation_std_rad),
            "wrist_fovy_deg": Estimate(intrinsics.fovy_deg - self.fovy_deg, intrinsics.fovy_std_deg),
            "encoder_bias_rad": found.offset_rad,
        }


def front_terms(
    base_from_camera: np.ndarray, intrinsics: Intrinsics, pos_std_m: np.ndarray, designed: FixedCamera
) -> dict[str, Estimate]:
    """Return the front camera's deviation from design, in the terms of `conf/randomize`."""
    pos, ahead = base_from_camera[:3, 3], base_from_camera[:3, 2]
    share = np.dot(designed.lookat_m - pos, ahead)
    return {
        "front_pos_m": Estimate(pos - designed.pos_m, pos_std_m),
        "front_lookat_m": Estimate(pos + share * ahead - designed.lookat_m, pos_std_m),
        "front_fovy_deg": Estimate(intrinsics.fovy_deg - designed.fovy_deg, intrinsics.fovy_std_deg),
    }


def _looking_down(camera: np.ndarray) -> np.ndarray:
    """Return `camera` (3, 3) rotated by the smallest angle so that it looks straight down."""
    down = np.array([0.0, 0.0, -1.0])
    axis = np.cross(camera[:, 2], down)
    sine, cosine = np.linalg.norm(axis), camera[:, 2] @ down
    return Rotation.from_rotvec(axis / max(sine, 1e-9) * np.arctan2(sine, cosine)).as_matrix() @ camera


def _about_z(angle_rad: float) -> np.ndarray:
    return Rotation.from_rotvec([0.0, 0.0, angle_rad]).as_matrix()
