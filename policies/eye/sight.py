"""All cameras at once: the pixels of points, and their derivatives by how a camera differs and by where a point is.

In numpy, whose calls cost a fifth of torch's on arrays this small. Shapes: B observations, C cameras, N points.
Metres; pixels as in `policies.eye.view`; float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from policies.eye.bench import Camera

NEAREST_M = 0.02  # that a point is before a camera: pixels of what is nearer or behind are bounded
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

        self.place, self.aim, self.up, self.fovy = each("place"), each("aim"), each("up"), each("fovy")
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
        by_seen[..., 0, 0], by_seen[..., 1, 1] = np.moveaxis(focal / depth, -1, 0)
        by_seen[..., 2] = focal * at / depth * (depth > NEAREST_M)
        by_framed = by_seen @ np.swapaxes(rotation, -1, -2)[:, :, None]
        turned = away[:, :, None] @ turning  # (B, C, 3, N, 3): change of `seen` with each coordinate of `towards`
        by_towards = by_seen @ np.moveaxis(turned, 2, -1)
        by_camera = np.empty((*at.shape, 7))
        by_camera[..., :3] = (1 - self.follows)[..., None, None] * by_towards - by_framed
        by_camera[..., 3:6] = -by_towards
        by_camera[..., 6] = at * focal / -np.sin(angle)[..., None, None]
        by_point = by_framed @ np.swapaxes(self.turn, -1, -2)[:, :, None]
        return Projection(0.5 + focal * at, by_camera, by_point)


def _looking_along(towards: np.ndarray, up: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rotation (..., 3, 3), columns x, y, z, of a camera that looks along -towards (..., 3), and its change.

    The change with each coordinate of `towards` is (..., 3, 3, 3): coordinate, then as the rotation.
    """
    far = np.linalg.norm(towards, axis=-1, keepdims=True)
    z = towards / far
    side = _cross(up, z)
    wide = np.linalg.norm(side, axis=-1, keepdims=True)
    x = side / wide
    dz = (np.eye(3) - z[..., :, None] * z[..., None, :]) / far[..., None]  # row: coordinate
    dside = _cross(up[..., None, :], dz)
    dx = (dside - (dside @ x[..., None]) * x[..., None, :]) / wide[..., None]
    dy = _cross(dz, x[..., None, :]) + _cross(z[..., None, :], dx)
    return np.stack([x, _cross(z, x), z], -1), np.stack([dx, dy, dz], -1)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the cross product along the last axis; numpy's own takes ten times as long on a few vectors."""
    (ax, ay, az), (bx, by, bz) = np.moveaxis(a, -1, 0), np.moveaxis(b, -1, 0)
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], -1)
