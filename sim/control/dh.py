"""A serial arm's kinematics from its DH table: frames and Jacobian, in numpy and in the table's unit of length.

Classic Denavit-Hartenberg, one row (a, d, alpha) a joint: link = Rz(q) Tz(d) Tx(a) Rx(alpha).
"""

from collections.abc import Sequence

import numpy as np


def frames(dh: Sequence[Sequence[float]], joints_rad: np.ndarray, mount: np.ndarray | None = None) -> np.ndarray:
    """Return (joints + 1, 4, 4), in the base frame: the table's first frame and each link's, the flange last.

    mount: (4, 4) pose of the first frame in the base frame; None: they are one.
    """
    poses = [np.eye(4) if mount is None else mount]
    for angle, (a, d, alpha) in zip(joints_rad, dh, strict=True):
        c, s, ca, sa = np.cos(angle), np.sin(angle), np.cos(alpha), np.sin(alpha)
        link = [[c, -s * ca, s * sa, a * c], [s, c * ca, -c * sa, a * s], [0, sa, ca, d], [0, 0, 0, 1]]
        poses.append(poses[-1] @ np.array(link))
    return np.array(poses)


def jacobian(links: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Return (6, joints): velocity of `point` (3,), fixed to the last link, over angular velocity, for each joint's
    speed.

    links: what `frames` returns. Everything in the base frame.
    """
    axes, origins = links[:-1, :3, 2], links[:-1, :3, 3]
    return np.vstack([np.cross(axes, point - origins).T, axes.T])
