"""All cameras at once: the pixels of points, and their derivatives by how a camera differs and by where a point is.

In numpy, whose calls cost a fifth of torch's on arrays this small. Shapes: B observations, C cameras, N points.
Metres; pixels as in `policies.eye.view`; float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from policies.eye.bench import Camera

NEAREST_M = 0.02  # that a point is before a camera: pixels of what is nearer or behind are bounded
CROSSING = np.array([[0, 0, 0, 0, 0, -1, 0, 1, 0], [0, 0, 1, 0, 0, 0, -1, 0, 0], [0, -1, 0, 1, 0, 0, 0, 0, 0.0]])
UPRIGHT = np.array([1.0, -1.0])  # pixels count downwards


@dataclass
class Projection:
    """Pixels of points, and how they change."""

    pixel: np.ndarray  # (B, C, N, 2)
    by_camera: np.ndarray  # (B, C, N, 2, FREE), as `Camera.axes` has them
    by_point: np.ndarray  # (B, C, N, 2, 3) by the point in the base frame


class Sight:
    """Cameras on the bench and on a tool whose pose is known."""

    def __init__(self, cameras: Sequence[Camera], tool: tuple[np.ndarray, np.ndarray]):
        """tool: its point (B, 3) and rotation (B, 3, 3) in the base frame."""

        def each(name: str) -> np.ndarray:
            return np.stack([getattr(camera, name).numpy() for camera in cameras])

        self.place, self.aim, self.fovy, self.up = each("place"), each("aim"), each("fovy"), _crossing(each("up"))
        self.on_tool = np.array([camera.on_tool for camera in cameras])
        moves = self.on_tool[:, None]
        self.origin = np.where(moves, tool[0][:, None], 0.0)  # of the frames that the cameras are fixed to, (B, C, 3)
        self.turn = np.where(moves[..., None], tool[1][:, None], np.eye(3))  # (B, C, 3, 3)
        self.follows = moves.astype(float)  # a mount that is off moves the camera, it does not turn it

    def framed(self, points: np.ndarray) -> np.ndarray:
        """Return points (B, N, 3) of the base frame in those that the cameras are fixed to, (B, C, N, 3)."""
        return (points[:, None] - self.origin[:, :, None]) @ self.turn

    def project(self, framed: np.ndarray, free: np.ndarray) -> Projection:
        """framed (B, C, N, 3), free (B, C, FREE) by which the cameras differ."""
        place = self.place + free[..., :3]
        towards = place - self.aim - free[..., 3:6] - self.follows * free[..., :3]
        rotation, turning = _looking_along(towards, self.up)
        angle = self.fovy + free[..., 6]
        focal = (0.5 / np.tan(angle / 2))[..., None, None] * UPRIGHT  # (B, C, 1, 2)
        away = framed - place[:, :, None]
        seen = away @ rotation
        depth = np.maximum(-seen[..., 2:], NEAREST_M)
        at = seen[..., :2] / depth
        by_seen = np.zeros((*at.shape, 3))
        scale = focal / depth
        by_seen[..., 0, 0], by_seen[..., 1, 1] = scale[..., 0], scale[..., 1]
        by_seen[..., 2] = scale * at * (depth > NEAREST_M)
        by_framed = by_seen @ rotation.mT[:, :, None]
        turned = away[:, :, None] @ turning  # (B, C, 3, N, 3): change of `seen` with each coordinate of `towards`
        by_towards = by_seen @ turned.transpose(0, 1, 3, 4, 2)
        by_camera = np.empty((*at.shape, 7))
        by_camera[..., :3] = (1 - self.follows)[..., None, None] * by_towards - by_framed
        by_camera[..., 3:6] = -by_towards
        by_camera[..., 6] = at * focal / -np.sin(angle)[..., None, None]
        by_point = by_framed @ self.turn.mT[:, :, None]
        return Projection(0.5 + focal * at, by_camera, by_point)


def _looking_along(towards: np.ndarray, up: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rotation (..., 3, 3), columns x, y, z, of a camera that looks along -towards (..., 3), and its change.

    up: `_crossing` of the vector that is up. The change with each coordinate of `towards` is (..., 3, 3, 3):
    coordinate, then as the rotation.
    """
    far = np.sqrt((towards * towards).sum(-1, keepdims=True))
    z = towards / far
    side = (up @ z[..., None])[..., 0]
    wide = np.sqrt((side * side).sum(-1, keepdims=True))
    x = side / wide
    across = _crossing(z)
    rotation, turning = np.empty((*z.shape, 3)), np.empty((*z.shape, 3, 3))
    rotation[..., 0], rotation[..., 1], rotation[..., 2] = x, (across @ x[..., None])[..., 0], z
    dz = (np.eye(3) - z[..., :, None] * z[..., None, :]) / far[..., None]  # row: coordinate
    dside = dz @ up.mT
    dx = (dside - (dside @ x[..., None]) * x[..., None, :]) / wide[..., None]
    turning[..., 0], turning[..., 1], turning[..., 2] = dx, dz @ _crossing(x) + dx @ across.mT, dz
    return rotation, turning


def _crossing(a: np.ndarray) -> np.ndarray:
    """Return the matrix (..., 3, 3) whose product with b is the cross product of a (..., 3) and b."""
    return (a @ CROSSING).reshape(*a.shape, 3)
