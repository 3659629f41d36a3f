"""Planned motion of the emulated controller: MoveJ and MoveL as joint targets, one a cycle."""

from collections.abc import Callable

import numpy as np
from ruckig import InputParameter, Ruckig, Trajectory
from scipy.spatial.transform import Rotation, Slerp

from sim.robots.fairino_fr3 import SERVO_PERIOD_S

JOINT_ACCEL_DEG_S2 = 400.0  # our choice; the manual gives none
TCP_SPEED_MM_S, TCP_ACCEL_MM_S2 = 1000.0, 2250.0  # data sheet; the vendor's MoveIt limits
TURN_MM_PER_RAD = 200.0  # a turn in place takes as long as such a way
UNREACHABLE, SINGULAR = 112, 38


def _timed(length: np.ndarray, speed: np.ndarray, accel: float) -> np.ndarray:
    """(T, n) of `n` coordinates that go from 0 to `length` together, at rest at both ends."""
    n = len(length)
    plan = InputParameter(n)
    plan.current_position, plan.target_position = [0.0] * n, length.tolist()
    plan.max_velocity, plan.max_acceleration = speed.tolist(), [accel] * n
    trajectory = Trajectory(n)
    if Ruckig(n).calculate(plan, trajectory) < 0:
        raise RuntimeError(f"no plan over {length}")
    times = np.arange(1, int(np.ceil(trajectory.duration / SERVO_PERIOD_S)) + 1) * SERVO_PERIOD_S
    return np.array([trajectory.at_time(min(t, trajectory.duration))[0] for t in times]).reshape(-1, n)


def joint_path(start_deg: np.ndarray, goal_deg: np.ndarray, speed_deg_s: np.ndarray) -> np.ndarray:
    """(T, 6) deg; empty when there is no way to go."""
    way = np.asarray(goal_deg, float) - start_deg
    if not np.abs(way).max() > 1e-9:
        return np.empty((0, len(way)))
    return start_deg + _timed(way, speed_deg_s, JOINT_ACCEL_DEG_S2)


def line_path(
    start_deg: np.ndarray,
    ends: tuple[np.ndarray, np.ndarray],
    fraction: float,
    solve: Callable[[np.ndarray, np.ndarray], np.ndarray | None],
    max_step_deg: np.ndarray,
) -> np.ndarray | int:
    """(T, 6) deg of a straight line between the poses `ends`, each (4, 4) mm, at `fraction` of full speed.

    solve(pose, near_deg): inverse kinematics. The code of why there is no such line otherwise.
    """
    begin, end = ends
    turns = Rotation.from_matrix(np.stack([begin[:3, :3], end[:3, :3]]))
    angle = (turns[0].inv() * turns[1]).magnitude()
    length = max(float(np.linalg.norm(end[:3, 3] - begin[:3, 3])), TURN_MM_PER_RAD * angle)
    if length < 1e-9:
        return np.empty((0, len(start_deg)))
    way = _timed(np.array([length]), np.array([fraction * TCP_SPEED_MM_S]), TCP_ACCEL_MM_S2)[:, 0] / length
    way, turned = np.clip(way, 0.0, 1.0), Slerp([0.0, 1.0], turns)
    path, near, pose = [], start_deg, np.eye(4)
    for s in way:
        pose[:3, :3], pose[:3, 3] = turned(s).as_matrix(), begin[:3, 3] + s * (end[:3, 3] - begin[:3, 3])
        joints = solve(pose, near)
        if joints is None:
            return UNREACHABLE
        if (np.abs(joints - near) > max_step_deg).any():
            return SINGULAR
        path.append(joints)
        near = joints
    return np.array(path)
