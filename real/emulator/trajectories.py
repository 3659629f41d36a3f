"""Planned motion of the emulated controller as joint targets, one a cycle: to joint angles, along a line, an arc or a
spline."""

from collections.abc import Callable

import numpy as np
from ruckig import InputParameter, Ruckig, Trajectory
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation, Slerp

from real.fairino.fault_codes import Code
from sim.robots.fairino_fr3 import SERVO_PERIOD_S

JOINT_ACCEL_DEG_S2 = 400.0  # our choice; the manual gives none
TCP_SPEED_MM_S, TCP_ACCEL_MM_S2 = 1000.0, 2250.0  # data sheet; the vendor's MoveIt limits
TURN_MM_PER_RAD = 200.0  # a turn in place takes as long as a path of this length
STEP_DEG = 4.0  # of a joint in one cycle along a path; more and the pose is near a singularity
COLLINEAR_MM = 1e-3  # three points closer to one line than this define no circle
Solve = Callable[[np.ndarray, np.ndarray], np.ndarray | None]  # inverse kinematics: pose (4, 4), near_deg (6,)


def _timed(length: np.ndarray, speed: np.ndarray, accel: float) -> np.ndarray:
    """Return (T, n) of `n` coordinates that go from 0 to `length` together, at rest at both ends."""
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
    """Return (T, 6) deg; empty when start and goal are the same."""
    distance = np.asarray(goal_deg, float) - start_deg
    if not np.abs(distance).max() > 1e-9:
        return np.empty((0, len(distance)))
    return start_deg + _timed(distance, speed_deg_s, JOINT_ACCEL_DEG_S2)


def spline_path(start_deg: np.ndarray, points_deg: np.ndarray, speed_deg_s: np.ndarray) -> np.ndarray:
    """Return (T, 6) deg of a cubic spline through points (P, 6), at rest at both ends; a point twice in a row counts
    once.

    As fast as its fastest joint may be, in speed or in acceleration. Empty when the arm is there already.
    """
    points = np.vstack([start_deg, points_deg])
    took_s = (np.abs(np.diff(points, axis=0)) / speed_deg_s).max(1)
    points, took_s = points[np.concatenate([[True], took_s > 1e-9])], took_s[took_s > 1e-9]
    if not len(took_s):
        return np.empty((0, len(start_deg)))
    knots_s = np.concatenate([[0.0], np.cumsum(took_s)])
    curve = CubicSpline(knots_s, points, bc_type="clamped")
    fine_s = np.linspace(0.0, knots_s[-1], 100 * len(points))
    slower = max(
        (np.abs(curve(fine_s, 1)) / speed_deg_s).max(), np.sqrt(np.abs(curve(fine_s, 2)).max() / JOINT_ACCEL_DEG_S2)
    )
    cycles = int(np.ceil(slower * knots_s[-1] / SERVO_PERIOD_S))
    return curve(np.linspace(0.0, knots_s[-1], cycles + 1)[1:])


def line_path(start_deg: np.ndarray, poses: list[np.ndarray], fraction: float, solve: Solve) -> np.ndarray | Code:
    """Return (T, 6) deg of the straight line between two `poses`, each (4, 4) mm, at `fraction` of full speed.

    The code of why there is no such line otherwise; as of `arc_path`.
    """
    begin, end = (pose[:3, 3] for pose in poses)
    return _cartesian_path(
        start_deg, poses, float(np.linalg.norm(end - begin)), lambda s: begin + s * (end - begin), fraction, solve
    )


def arc_path(
    start_deg: np.ndarray, poses: list[np.ndarray], fraction: float, solve: Solve, *, full: bool
) -> np.ndarray | Code:
    """Return (T, 6) deg of the circle through three `poses`: from the first over the second to the third, `full`: and
    round to the first again. Code.WRONG_VALUE when they lie on a line."""
    circle = _circle(*(pose[:3, 3] for pose in poses))
    if circle is None:
        return Code.WRONG_VALUE
    centre, axes, radius, angle = circle
    angle = 2 * np.pi if full else angle

    def position(s: float) -> np.ndarray:
        return centre + radius * (np.cos(s * angle) * axes[0] + np.sin(s * angle) * axes[1])

    ends = [poses[0], poses[0]] if full else [poses[0], poses[2]]
    return _cartesian_path(start_deg, ends, radius * angle, position, fraction, solve)


def _circle(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray, float, float] | None:
    """Return centre (3,), axes (2, 3) of its plane with `a` at angle 0, radius and the angle of `c` beyond `b`."""
    ab, ac = b - a, c - a
    normal = np.cross(ab, ac)
    if np.linalg.norm(normal) < COLLINEAR_MM * max(np.linalg.norm(ac), COLLINEAR_MM):
        return None
    square = normal @ normal
    centre = a + (np.cross(normal, ab) * (ac @ ac) + np.cross(ac, normal) * (ab @ ab)) / (2 * square)
    radius = float(np.linalg.norm(a - centre))
    first = (a - centre) / radius
    axes = np.stack([first, np.cross(normal / np.sqrt(square), first)])
    return centre, axes, radius, float(np.arctan2(*(axes[::-1] @ (c - centre))) % (2 * np.pi))


def _cartesian_path(  # noqa: PLR0913
    start_deg: np.ndarray, ends: list[np.ndarray], length_mm: float, position: Callable[[float], np.ndarray],
    fraction: float, solve: Solve,
) -> np.ndarray | Code:  # fmt: skip
    """Return joint targets along `position`(0..1), the orientation turning evenly from the first to the last
    of `ends`."""
    turns = Rotation.from_matrix(np.stack([ends[0][:3, :3], ends[1][:3, :3]]))
    length = max(length_mm, TURN_MM_PER_RAD * (turns[0].inv() * turns[1]).magnitude())
    if length < 1e-9:
        return np.empty((0, len(start_deg)))
    timed = _timed(np.array([length]), np.array([fraction * TCP_SPEED_MM_S]), TCP_ACCEL_MM_S2)[:, 0] / length
    shares, turned = np.clip(timed, 0.0, 1.0), Slerp([0.0, 1.0], turns)
    path, near, pose = [], start_deg, np.eye(4)
    for s in shares:
        pose[:3, :3], pose[:3, 3] = turned(s).as_matrix(), position(s)
        joints = solve(pose, near)
        if joints is None:
            return Code.UNREACHABLE
        if (np.abs(joints - near) > STEP_DEG).any():
            return Code.SINGULAR
        path.append(joints)
        near = joints
    return np.array(path)
