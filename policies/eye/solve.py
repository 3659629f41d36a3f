"""Where the named things are, by least squares: their pixels, the arm's pixels, heights and how cameras may differ.

The arm's places follow from the joints, so each image calibrates its own camera. Gauss and Newton's method on the
negative logarithm of the posterior, residuals in their standard deviations; a pixel far from all that fits counts less
(Cauchy's weights).

Shapes: B observations, C cameras, R roles, K arm points, U unknowns. Arrays as in `policies.eye.arrays`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from policies.eye.arrays import Array, eye, library, solve_linear
from policies.eye.bench import FREE, Camera
from policies.eye.sight import Sight

STEPS = 5
CLOSE_M = 0.02  # a step of a point is shortened to so much times ten
AROUND_M, ANYWHERE_M = (-0.33, 0.0), 0.3  # where a point is on the table before anything is seen, and its deviation


@dataclass
class Measured:
    """What the cameras found. Deviations are of one coordinate; a large one says that nothing was found."""

    tool: tuple[Array, Array]  # point (B, 3) m, rotation (B, 3, 3)
    arm: Array  # (B, K, 3) m, by the joints
    arm_pixel: Array  # (B, C, K, 2)
    arm_deviation: Array  # (B, C, K, 2)
    pixel: Array  # (B, C, R, 2)
    deviation: Array  # (B, C, R, 2)
    start: Array  # (B, R, 3) m, where to begin
    height: Array  # (B, R) m
    height_deviation: Array  # (B, R)


@dataclass
class Solution:
    """The most likely places."""

    points: Array  # (B, R, 3) m
    covariance: Array  # (B, R, 3, 3) m^2
    free: Array  # (B, C, FREE) by which the cameras differ from their descriptions
    misfit: Array  # (B, C, R) residual of each pixel in its deviations


def solve(cameras: Sequence[Camera], prior: Array, measured: Measured) -> Solution:
    """Return the solution. prior (C, FREE): deviations by which cameras differ."""
    batch, roles = measured.start.shape[:2]
    count = len(cameras) * FREE
    xp, pixels = library(measured.start), _Pixels(cameras, measured)
    mean, precision = _priors(prior, measured)
    one_each = eye(count + 3 * roles, like=mean)
    x = xp.concat([xp.zeros((batch, count), dtype=xp.float64), measured.start.reshape(batch, -1)], 1)
    for _ in range(STEPS):
        residual, jacobian = pixels(x)
        weighted = jacobian.mT / (1 + (residual / 3) ** 2)[:, None]  # Cauchy's weights; the priors' are 1
        normal = weighted @ jacobian + precision[:, None] * one_each
        gradient = weighted @ residual[..., None] + (precision * (x - mean))[..., None]
        step = solve_linear(normal, -gradient)[..., 0]
        x = x + xp.concat([step[:, :count], step[:, count:].clip(-10 * CLOSE_M, 10 * CLOSE_M)], 1)
    covariance = solve_linear(normal, one_each[:, count:])[:, count:]
    blocks = xp.stack([covariance[:, 3 * r : 3 * r + 3, 3 * r : 3 * r + 3] for r in range(roles)], 1)
    residual = pixels(x)[0].reshape(batch, len(cameras), -1, 2)[:, :, :roles]
    misfit = xp.sqrt((residual**2).sum(-1))
    return Solution(x[:, count:].reshape(batch, roles, 3), blocks, x[:, :count].reshape(batch, -1, FREE), misfit)


def _priors(prior: Array, measured: Measured) -> tuple[Array, Array]:
    """Return mean and precision (B, U) of what is unknown before anything is seen: cameras, then points."""
    height, xp = measured.height, library(measured.height)
    same = xp.zeros_like(height)
    points = xp.stack([same + AROUND_M[0], same + AROUND_M[1], height], -1)
    sure = xp.stack([same + ANYWHERE_M**-2, same + ANYWHERE_M**-2, measured.height_deviation**-2], -1)
    none = xp.zeros((len(height), len(prior) * FREE), dtype=xp.float64)
    return (
        xp.concat([none, points.reshape(len(height), -1)], 1),
        xp.concat([none + prior.reshape(-1) ** -2, sure.reshape(len(height), -1)], 1),
    )


class _Pixels:
    """Residuals of all pixels in their deviations, and their derivatives."""

    def __init__(self, cameras: Sequence[Camera], measured: Measured):
        xp = library(measured.pixel)
        self.sight = Sight(cameras, measured.tool)
        self.arm = self.sight.framed(measured.arm)
        self.found = xp.concat([measured.pixel, measured.arm_pixel], 2)  # (B, C, R + K, 2)
        fixed = 1 - self.sight.follows[..., None]  # an arm that carries its camera does not calibrate it
        self.sure = xp.concat([1 / measured.deviation, fixed / measured.arm_deviation], 2)
        self.cameras, self.roles = len(cameras), measured.pixel.shape[2]
        self.of_camera = eye(self.cameras, like=self.sure)[:, None, None, :, None]
        self.of_point = eye(self.found.shape[2], like=self.sure)[:, None, : self.roles, None]

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """x (B, U) -> residuals (B, M), their derivatives (B, M, U)."""
        xp, first = library(x), self.cameras * FREE
        free, points = x[:, :first].reshape(-1, self.cameras, FREE), x[:, first:].reshape(-1, self.roles, 3)
        seen = self.sight.project(xp.concat([self.sight.framed(points), self.arm], 2), free)
        residual = (seen.pixel - self.found) * self.sure
        by_cameras = (seen.by_camera[..., None, :] * self.of_camera).reshape(*residual.shape, -1)
        by_points = (seen.by_point[..., None, :] * self.of_point).reshape(*residual.shape, -1)
        jacobian = xp.concat([by_cameras, by_points], -1) * self.sure[..., None]
        return residual.reshape(len(x), -1), jacobian.reshape(len(x), -1, x.shape[1])


class CameraPrior(nn.Module):
    """By how much cameras differ, as they are randomized: place and aim in m, field of view in rad; never trained."""

    def __init__(self, cameras: list[bool]):
        """cameras: whether each is on the tool."""
        super().__init__()
        rows = [
            [1.5e-3] * 3 + [1e-3] * 3 + [0.010] if tool else [0.013] * 3 + [0.007] * 3 + [0.012] for tool in cameras
        ]
        self.log = nn.Parameter(torch.tensor(rows, dtype=torch.float64).log())

    def forward(self) -> Tensor:
        return self.log.exp()
