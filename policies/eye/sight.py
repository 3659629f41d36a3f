"""All cameras at once: the pixels of points, and their derivatives by how a camera differs and by where a point is.

Shapes: B observations, C cameras, N points. Metres; pixels as in `policies.eye.view`; float64. Arrays as in
`policies.eye.arrays`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from policies.eye.arrays import Array, doubles, eye, library
from policies.eye.bench import Camera

NEAREST_M = 0.02  # that a point is before a camera: pixels of what is nearer or behind are bounded
CROSSING = ((0, 0, 0, 0, 0, -1, 0, 1, 0), (0, 0, 1, 0, 0, 0, -1, 0, 0), (0, -1, 0, 1, 0, 0, 0, 0, 0))
UPRIGHT = (1, -1)  # pixels count downwards


@dataclass
class Projection:
    """Pixels of points, and how they change."""

    pixel: Array  # (B, C, N, 2)
    by_camera: Array  # (B, C, N, 2, FREE), as `Camera.axes` has them
    by_point: Array  # (B, C, N, 2, 3) by the point in the base frame


class Sight:
    """Cameras on the bench and on a tool whose pose is known."""

    def __init__(self, cameras: Sequence[Camera], tool: tuple[Array, Array]):
        """tool: its point (B, 3) and rotation (B, 3, 3) in the base frame."""

        def each(name: str) -> Array:
            values = torch.stack([getattr(camera, name) for camera in cameras])
            return values if xp is torch else values.numpy()

        xp = library(tool[0])
        self.place, self.aim, self.fovy, self.up = each("place"), each("aim"), each("fovy"), _crossing(each("up"))
        self.follows = doubles([[camera.on_tool] for camera in cameras], like=tool[0])  # a mount that is off moves
        moves = self.follows > 0  # the camera, it does not turn it
        self.origin = xp.where(moves, tool[0][:, None], 0.0)  # of the frames that the cameras are fixed to, (B, C, 3)
        self.turn = xp.where(moves[..., None], tool[1][:, None], eye(3, like=tool[0]))  # (B, C, 3, 3)

    def framed(self, points: Array) -> Array:
        """Return points (B, N, 3) of the base frame in those that the cameras are fixed to, (B, C, N, 3)."""
        return (points[:, None] - self.origin[:, :, None]) @ self.turn

    def project(self, framed: Array, free: Array) -> Projection:
        """framed (B, C, N, 3), free (B, C, FREE) by which the cameras differ."""
        xp = library(framed)
        place = self.place + free[..., :3]
        towards = place - self.aim - free[..., 3:6] - self.follows * free[..., :3]
        rotation, turning = _looking_along(towards, self.up)
        angle = (self.fovy + free[..., 6])[..., None, None]
        focal = 0.5 * xp.cos(angle / 2) / xp.sin(angle / 2) * doubles(UPRIGHT, like=framed)  # (B, C, 1, 2)
        away = framed - place[:, :, None]
        seen = away @ rotation
        depth = (-seen[..., 2:]).clip(min=NEAREST_M)
        at = seen[..., :2] / depth
        scale = focal / depth
        by_depth = scale * at * (depth > NEAREST_M)
        by_seen = xp.concat([scale[..., None] * eye(2, like=framed), by_depth[..., None]], -1)
        by_framed = by_seen @ rotation.mT[:, :, None]
        turned = away[:, :, None] @ turning  # (B, C, 3, N, 3): change of `seen` with each coordinate of `towards`
        by_towards = by_seen @ xp.moveaxis(turned, 2, 4)
        by_place = (1 - self.follows)[..., None, None] * by_towards - by_framed
        by_camera = xp.concat([by_place, -by_towards, (at * focal / -xp.sin(angle))[..., None]], -1)
        by_point = by_framed @ self.turn.mT[:, :, None]
        return Projection(0.5 + focal * at, by_camera, by_point)


def _looking_along(towards: Array, up: Array) -> tuple[Array, Array]:
    """Return the rotation (..., 3, 3), columns x, y, z, of a camera that looks along -towards (..., 3), and its change.

    up: `_crossing` of the vector that is up. The change with each coordinate of `towards` is (..., 3, 3, 3):
    coordinate, then as the rotation.
    """
    xp = library(towards)
    far = xp.sqrt((towards * towards).sum(-1))[..., None]
    z = towards / far
    side = (up @ z[..., None])[..., 0]
    wide = xp.sqrt((side * side).sum(-1))[..., None]
    x = side / wide
    across = _crossing(z)
    rotation = xp.stack([x, (across @ x[..., None])[..., 0], z], -1)
    dz = (eye(3, like=z) - z[..., :, None] * z[..., None, :]) / far[..., None]  # row: coordinate
    dside = dz @ up.mT
    dx = (dside - (dside @ x[..., None]) * x[..., None, :]) / wide[..., None]
    return rotation, xp.stack([dx, dz @ _crossing(x) + dx @ across.mT, dz], -1)


def _crossing(a: Array) -> Array:
    """Return the matrix (..., 3, 3) whose product with b is the cross product of a (..., 3) and b."""
    return (a @ doubles(CROSSING, like=a)).reshape(*a.shape, 3)
