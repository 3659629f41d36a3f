"""Where the named things are, by least squares: their pixels, the arm's pixels, heights and how cameras may differ.

The arm's places follow from the joints, so each image calibrates its own camera. Gauss and Newton's method on the
negative logarithm of the posterior, residuals in their standard deviations; a pixel far from all that fits counts less
(Cauchy's weights).

Shapes: B observations, C cameras, R roles, K arm points.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from policies.eye.bench import FREE, Camera
from policies.eye.sight import Sight

STEPS = 5
CLOSE_M = 0.02  # a step of a point is shortened to so much times ten
AROUND_M, ANYWHERE_M = (-0.33, 0.0), 0.3  # where a point is on the table before anything is seen, and its deviation


@dataclass
class Measured:
    """What the cameras found. Deviations are of one coordinate; a large one says that nothing was found."""

    tool: tuple[np.ndarray, np.ndarray]  # point (B, 3) m, rotation (B, 3, 3)
    arm: np.ndarray  # (B, K, 3) m, by the joints
    arm_pixel: np.ndarray  # (B, C, K, 2)
    arm_deviation: np.ndarray  # (B, C, K, 2)
    pixel: np.ndarray  # (B, C, R, 2)
    deviation: np.ndarray  # (B, C, R, 2)
    start: np.ndarray  # (B, R, 3) m, where to begin
    height: np.ndarray  # (B, R) m
    height_deviation: np.ndarray  # (B, R)


@dataclass
class Solution:
    """The most likely places."""

    points: np.ndarray  # (B, R, 3) m
    covariance: np.ndarray  # (B, R, 3, 3) m^2
    free: np.ndarray  # (B, C, FREE) by which the cameras differ from their descriptions
    misfit: np.ndarray  # (B, C, R) residual of each pixel in its deviations


def solve(cameras: Sequence[Camera], prior: np.ndarray, measured: Measured) -> Solution:
    """Return the solution. prior (C, FREE): deviations by which cameras differ."""
    batch, roles = measured.start.shape[:2]
    count = len(cameras) * FREE
    pixels = _Pixels(cameras, measured)
    mean, precision = _priors(prior, measured)
    x = np.concatenate([np.zeros((batch, count)), measured.start.reshape(batch, -1)], 1)
    for _ in range(STEPS):
        residual, jacobian = pixels(x)
        weighted = jacobian.mT / (1 + np.square(residual / 3))[:, None]  # Cauchy's weights; the priors' are 1
        normal = weighted @ jacobian + precision[:, None] * np.eye(x.shape[1])
        gradient = weighted @ residual[..., None] + (precision * (x - mean))[..., None]
        step = np.linalg.solve(normal, -gradient)[..., 0]
        step[:, count:] = step[:, count:].clip(-10 * CLOSE_M, 10 * CLOSE_M)
        x = x + step
    covariance = np.linalg.inv(normal)[:, count:, count:]
    blocks = np.stack([covariance[:, 3 * r : 3 * r + 3, 3 * r : 3 * r + 3] for r in range(roles)], 1)
    misfit = np.linalg.norm(pixels(x)[0].reshape(batch, len(cameras), -1, 2)[:, :, :roles], axis=-1)
    return Solution(x[:, count:].reshape(batch, roles, 3), blocks, x[:, :count].reshape(batch, -1, FREE), misfit)


def _priors(prior: np.ndarray, measured: Measured) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and precision (B, U) of what is unknown before anything is seen: cameras, then points."""
    batch, roles = measured.height.shape
    mean, precision = np.zeros((batch, prior.size + 3 * roles)), np.empty((batch, prior.size + 3 * roles))
    precision[:, : prior.size] = np.square(prior).reshape(-1) ** -1
    points, sure = (one[:, prior.size :].reshape(batch, roles, 3) for one in (mean, precision))
    points[..., :2], points[..., 2] = AROUND_M, measured.height
    sure[..., :2], sure[..., 2] = ANYWHERE_M**-2, measured.height_deviation**-2
    mean[:, prior.size :], precision[:, prior.size :] = points.reshape(batch, -1), sure.reshape(batch, -1)
    return mean, precision


class _Pixels:
    """Residuals of all pixels in their deviations, and their derivatives."""

    def __init__(self, cameras: Sequence[Camera], measured: Measured):
        self.sight = Sight(cameras, measured.tool)
        self.arm = self.sight.framed(measured.arm)
        self.found = np.concatenate([measured.pixel, measured.arm_pixel], 2)  # (B, C, R + K, 2)
        fixed = ~self.sight.on_tool[:, None, None]  # an arm that carries its camera does not calibrate it
        self.sure = np.concatenate([1 / measured.deviation, fixed / measured.arm_deviation], 2)

    def __call__(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """x (B, U) -> residuals (B, M), their derivatives (B, M, U)."""
        cameras, roles = len(self.sight.on_tool), self.found.shape[2] - self.arm.shape[2]
        first = cameras * FREE
        free, points = x[:, :first].reshape(-1, cameras, FREE), x[:, first:].reshape(-1, roles, 3)
        seen = self.sight.project(np.concatenate([self.sight.framed(points), self.arm], 2), free)
        jacobian = np.zeros((*seen.pixel.shape, x.shape[1]))
        for c in range(cameras):
            jacobian[:, c, ..., c * FREE : (c + 1) * FREE] = seen.by_camera[:, c]
        for r in range(roles):
            jacobian[:, :, r, :, first + 3 * r : first + 3 * (r + 1)] = seen.by_point[:, :, r]
        residual = (seen.pixel - self.found) * self.sure
        jacobian *= self.sure[..., None]
        return residual.reshape(len(x), -1), jacobian.reshape(len(x), -1, x.shape[1])


class CameraPrior(nn.Module):
    """By how much cameras differ, learned: place and aim in m, field of view in rad."""

    def __init__(self, cameras: list[bool]):
        """cameras: whether each is on the tool."""
        super().__init__()
        rows = [
            [1.5e-3] * 3 + [1e-3] * 3 + [0.010] if tool else [0.013] * 3 + [0.007] * 3 + [0.012] for tool in cameras
        ]
        self.log = nn.Parameter(torch.tensor(rows, dtype=torch.float64).log())

    def forward(self) -> Tensor:
        return self.log.exp()
