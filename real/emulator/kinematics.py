"""The emulated controller's own kinematics: the arm's DH table in mm and degrees, as on its wire.

A pose is [x, y, z mm, rx, ry, rz deg] with R = Rz(rz) Ry(ry) Rx(rx). Independent of the simulator's
kinematics, which are MuJoCo's, of the tool in the scene: each is tested against the other.
"""

import numpy as np
from scipy.spatial.transform import Rotation

from sim.control import dh
from sim.robots.fairino_fr3 import fairino_fr3

DH = tuple((1000 * a, 1000 * d, alpha) for a, d, alpha in fairino_fr3().dh_m)  # mm
TOLERANCE = 1e-6  # mm / 100 and rad
STEPS = 60
DAMPING = 1e-4
MM_PER_RAD = 100.0  # weighs position against rotation
MAX_STEP_RAD = 0.3


def matrix_of(pose: list | np.ndarray) -> np.ndarray:
    """Return (4, 4) of a pose."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", pose[3:], degrees=True).as_matrix()
    matrix[:3, 3] = pose[:3]
    return matrix


def pose_of(matrix: np.ndarray) -> list[float]:
    """Return the pose of a (4, 4); at ry = 90 deg, rz is 0."""
    r = matrix[:3, :3]
    angles = (
        np.arctan2(r[2, 1], r[2, 2]),
        np.arctan2(-r[2, 0], np.hypot(r[0, 0], r[1, 0])),
        np.arctan2(r[1, 0], r[0, 0]),
    )
    return [*map(float, matrix[:3, 3]), *map(float, np.rad2deg(angles))]


def frames(joint_rad: np.ndarray) -> np.ndarray:
    """Return (7, 4, 4): the base and each link's frame in the base frame, mm; the last is the flange."""
    return dh.frames(DH, joint_rad)


def forward(joint_deg: list | np.ndarray) -> np.ndarray:
    """Return (4, 4) of the flange in the base frame, mm."""
    return frames(np.deg2rad(joint_deg))[-1]


def speed(links: np.ndarray, tool: np.ndarray, joint_rad_s: np.ndarray) -> np.ndarray:
    """Return (6,) the tool's speed in the base, mm/s and deg/s. links: of `frames`; tool: (4, 4) in the flange."""
    velocity = dh.jacobian(links, (links[-1] @ tool)[:3, 3]) @ joint_rad_s
    return np.concatenate([velocity[:3], np.rad2deg(velocity[3:])])


def moved_in(frame: np.ndarray, pose: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Return (4, 4) `pose` shifted by `change` along the axes of `frame` and turned about them where it stands."""
    axes = frame[:3, :3]
    moved = pose.copy()
    moved[:3, 3] += axes @ change[:3, 3]
    moved[:3, :3] = axes @ change[:3, :3] @ axes.T @ pose[:3, :3]
    return moved


def inverse(flange: np.ndarray, near_deg: np.ndarray, low_deg: np.ndarray, high_deg: np.ndarray) -> np.ndarray | None:
    """Return (6,) joints in deg that put the flange at `flange` (4, 4), found from `near_deg`, inside the limits.

    Damped least squares (Levenberg-Marquardt with fixed damping); None when it does not get there.
    """
    joints = np.deg2rad(near_deg)
    for _ in range(STEPS):
        links = frames(joints)
        error = _error(links[-1], flange)
        if np.abs(error).max() < TOLERANCE:
            return _within(np.rad2deg(joints), low_deg, high_deg)
        jacobian = _jacobian(links)
        step = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + DAMPING**2 * np.eye(6), error)
        joints = joints + step * min(1.0, MAX_STEP_RAD / max(float(np.abs(step).max()), 1e-12))
    return None


def _error(now: np.ndarray, goal: np.ndarray) -> np.ndarray:
    turn = Rotation.from_matrix(goal[:3, :3] @ now[:3, :3].T).as_rotvec()
    return np.concatenate([(goal[:3, 3] - now[:3, 3]) / MM_PER_RAD, turn])


def _jacobian(links: np.ndarray) -> np.ndarray:
    """Return (6, 6) geometric Jacobian, scaled as `_error`."""
    whole = dh.jacobian(links, links[-1, :3, 3])
    return np.vstack([whole[:3] / MM_PER_RAD, whole[3:]])


def _within(joint_deg: np.ndarray, low_deg: np.ndarray, high_deg: np.ndarray) -> np.ndarray | None:
    """Return the same pose with every joint turned by whole turns into its range; None when one cannot."""
    turned = joint_deg - 360 * np.ceil((joint_deg - high_deg) / 360)
    return turned if (turned >= low_deg).all() else None
