"""Where the named things are, by least squares: their pixels, the arm's pixels, heights and how cameras may differ.

The arm's places follow from the joints, so each image calibrates its own camera. Gauss and Newton's method on the
negative logarithm of the posterior, residuals in their standard deviations; a pixel far from all that fits counts less
(Cauchy's weights).

Shapes: B observations, C cameras, R roles, K arm points.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from policies.eye.bench import FREE, Camera

STEPS, NUDGE = 5, 1e-5
CLOSE_M = 0.02  # a step of a point is shortened to so much times ten
ANYWHERE_M = 0.3  # deviation of a point's place on the table


@dataclass
class Measured:
    """What the cameras found. Deviations are of one coordinate; a large one says that nothing was found."""

    tool: tuple[Tensor, Tensor]  # point (B, 3) m, rotation (B, 3, 3)
    arm: Tensor  # (B, K, 3) m, by the joints
    arm_pixel: Tensor  # (B, C, K, 2)
    arm_deviation: Tensor  # (B, C, K, 2)
    pixel: Tensor  # (B, C, R, 2)
    deviation: Tensor  # (B, C, R, 2)
    start: Tensor  # (B, R, 3) m, where to begin
    height: Tensor  # (B, R) m
    height_deviation: Tensor  # (B, R)


@dataclass
class Solution:
    """The most likely places."""

    points: Tensor  # (B, R, 3) m
    covariance: Tensor  # (B, R, 3, 3) m^2
    free: Tensor  # (B, C, FREE) by which the cameras differ from their descriptions
    misfit: Tensor  # (B, C, R) residual of each pixel in its deviations


def solve(cameras: list[Camera], prior: Tensor, measured: Measured) -> Solution:
    """Return the solution. prior (C, FREE): deviations by which cameras differ."""
    batch, roles = measured.start.shape[:2]
    count = len(cameras) * FREE
    x = torch.cat([torch.zeros(batch, count, dtype=torch.float64), measured.start.double().flatten(1)], 1)
    nudge = NUDGE * torch.eye(x.shape[1], dtype=torch.float64)
    for _ in range(STEPS):
        residual = _residuals(cameras, prior, measured, x)
        moved = _residuals(cameras, prior, measured, x[:, None] + nudge)
        jacobian = ((moved - residual[:, None]) / NUDGE).mT  # (B, M, U)
        weight = _weights(residual, count + roles * 3)
        normal = jacobian.mT @ (weight[..., None] * jacobian)
        step = torch.linalg.solve(normal, -(jacobian.mT @ (weight * residual)[..., None]))[..., 0]
        step[:, count:] = step[:, count:].clamp(-10 * CLOSE_M, 10 * CLOSE_M)
        x = x + step
    covariance = torch.linalg.inv(normal)[:, count:, count:]
    blocks = torch.stack([covariance[:, 3 * r : 3 * r + 3, 3 * r : 3 * r + 3] for r in range(roles)], 1)
    misfit = _residuals(cameras, prior, measured, x)[:, count + 3 * roles :][:, : len(cameras) * roles * 2]
    misfit = misfit.unflatten(1, (len(cameras), roles, 2)).norm(dim=-1)
    return Solution(x[:, count:].unflatten(1, (roles, 3)), blocks, x[:, :count].unflatten(1, (-1, FREE)), misfit)


def _weights(residual: Tensor, priors: int) -> Tensor:
    """Return Cauchy's weights of the measurements, 1 of the priors."""
    weight = 1 / (1 + (residual / 3).square())
    return torch.cat([torch.ones_like(weight[:, :priors]), weight[:, priors:]], 1)


def _residuals(cameras: list[Camera], prior: Tensor, measured: Measured, x: Tensor) -> Tensor:
    """x (B, [n,] unknown) -> (B, [n,] M): priors of cameras and points, pixels of the roles, pixels of the arm."""
    extra = x.dim() - 2

    def fit(value: Tensor) -> Tensor:
        return value[(slice(None), *[None] * extra)]

    count = len(cameras) * FREE
    free, points = x[..., :count].unflatten(-1, (-1, FREE)), x[..., count:].unflatten(-1, (-1, 3))
    tool = fit(measured.tool[0]), fit(measured.tool[1])
    level = (points[..., 2] - fit(measured.height)) / fit(measured.height_deviation)
    wide = (points[..., :2] - points.new_tensor([-0.33, 0.0])) / ANYWHERE_M
    parts = [(free / prior).flatten(-2), torch.cat([wide, level[..., None]], -1).flatten(-2)]
    for c, camera in enumerate(cameras):
        found = camera.project(points, free[..., c, :], tool)
        parts.append(((found - fit(measured.pixel[:, c])) / fit(measured.deviation[:, c])).flatten(-2))
    for c, camera in enumerate(cameras):
        if not camera.on_tool:
            found = camera.project(fit(measured.arm).expand(*x.shape[:-1], -1, -1), free[..., c, :], tool)
            parts.append(((found - fit(measured.arm_pixel[:, c])) / fit(measured.arm_deviation[:, c])).flatten(-2))
    return torch.cat(parts, -1)


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
