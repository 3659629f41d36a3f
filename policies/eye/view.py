"""One camera's look: heat maps of what is asked for, found pixels with their own error, and the arm's points.

Pixels are (x, y) from the upper left corner in units of the image's side. Shapes: B observations, R roles, K arm
points, Q = R or K things that are looked for.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from policies.eye.queries import Queries
from policies.eye.trunk import CELLS, Trunk, cell_centres

NOT_SHOWN = -10.0  # logit
WINDOW = 2  # cells around the highest that its place is averaged over
COLOUR_SCALE = 30.0  # of squared distances of RGB as logits


@dataclass
class Heat:
    """Where things may be."""

    logits: Tensor  # (B, Q, CELLS^2 + 1) the last one: not in the image
    pixel: Tensor  # (B, Q, 2)
    spread: Tensor  # (B, Q, 2) logarithm of the pixel's deviation along x and y
    presence: Tensor  # (B, Q) probability to be in the image


@dataclass
class View:
    """What one camera shows."""

    roles: Heat
    arm: Heat
    match: Tensor  # (B, R, CELLS^2) logits: the cell shows the named thing
    colour: Tensor  # (B, 3, CELLS^2) RGB, 0..1, of the thing that each cell shows or whose point is there


def nothing_seen(batch: int, roles: int, landmarks: int) -> View:
    """Return the view of a camera that gave no image."""

    match = torch.full((batch, roles, CELLS**2), NOT_SHOWN)
    return View(_no_heat(batch, roles), _no_heat(batch, landmarks), match, torch.zeros(batch, 3, CELLS**2))


def _no_heat(batch: int, things: int) -> Heat:
    logits = torch.zeros(batch, things, CELLS**2 + 1)
    return Heat(logits, torch.full((batch, things, 2), 0.5), torch.zeros(batch, things, 2), logits[..., 0])


class CameraView(nn.Module):
    """Features of an image compared with queries."""

    centres: Tensor

    def __init__(
        self, widths: tuple[int, ...], point: int, match: int, arm_points: int, text: int, *, sees_arm: bool = True
    ):
        """sees_arm: False for a camera on the tool, which the arm cannot calibrate: its arm points are left out."""
        super().__init__()
        self.sees_arm = sees_arm
        self.sizes = (point, match, 3, arm_points)
        self.trunk = Trunk(widths, sum(self.sizes))
        self.absent = nn.Linear(widths[-1] + text, 1)
        self.arm_absent = nn.Linear(widths[-1], arm_points)
        self.spread = nn.Sequential(nn.Linear(6, 32), nn.SiLU(), nn.Linear(32, 2))
        self.register_buffer("centres", cell_centres(), persistent=False)

    def look(self, patches: Tensor) -> tuple[Tensor, ...]:
        """Return point, match, colour and arm features (B, ., CELLS^2), and a summary (B, .), whatever is asked for."""
        maps, summary = self.trunk(patches)
        point, match, colour, arm = maps.flatten(2).split(self.sizes, 1)
        return point, match, colour.sigmoid(), arm, summary

    def compare(self, looked: tuple[Tensor, ...], queries: Queries) -> View:
        """Return the view for these queries."""
        point, match, colour, arm, summary = looked
        unlike = COLOUR_SCALE * (queries.colour[..., None] - colour[:, None]).square().sum(2)  # (B, R, cells)
        gates = queries.gates[..., None]
        at = torch.einsum("brd,bdn->brn", queries.point, point) - gates[:, :, 0] * unlike
        shows = torch.einsum("brd,bdn->brn", queries.match, match) - gates[:, :, 1] * unlike
        about = torch.cat([summary[:, None].expand(-1, queries.vector.shape[1], -1), queries.vector], -1)
        heat = self.heat(torch.cat([at, self.absent(about)], -1))
        return View(heat, self._arm(arm, summary), shows, colour)

    def _arm(self, arm: Tensor, summary: Tensor) -> Heat:
        if not self.sees_arm:
            return _no_heat(*arm.shape[:2])
        return self.heat(torch.cat([arm, self.arm_absent(summary)[..., None]], -1))

    def heat(self, logits: Tensor) -> Heat:
        """(B, Q, CELLS^2 + 1) -> found pixels: the mean around the highest cell."""
        chance = logits.softmax(-1)
        peak = logits[..., :-1].argmax(-1)
        row, column = peak // CELLS, peak % CELLS
        reach = torch.arange(-WINDOW, WINDOW + 1, device=logits.device)
        rows = (row[..., None] + reach).clamp(0, CELLS - 1)
        columns = (column[..., None] + reach).clamp(0, CELLS - 1)
        near = (rows[..., :, None] * CELLS + columns[..., None, :]).flatten(-2)
        weights = logits[..., :-1].gather(-1, near).softmax(-1)
        places = self.centres[near]  # (B, Q, 25, 2)
        pixel = (weights[..., None] * places).sum(-2)
        variance = (weights[..., None] * (places - pixel[..., None, :]).square()).sum(-2)
        inside = chance.gather(-1, near).sum(-1)
        presence = 1 - chance[..., -1]
        share = inside / presence.clamp(min=1e-6)
        height = logits[..., :-1].gather(-1, peak[..., None])[..., 0]
        signs = [
            (variance * CELLS**2 + 1e-3).log(),
            share[..., None],
            presence[..., None],
            (inside + 1e-4).log()[..., None],
        ]
        spread = self.spread(torch.cat([*signs, 0.1 * height[..., None]], -1).detach()) - 4.0
        return Heat(logits, pixel, spread.clamp(-9, 0), presence)


# ---- learning ----------------------------------------------------------------------------------


def heat_loss(heat: Heat, pixels: Tensor, weight: Tensor) -> dict[str, Tensor]:
    """Return the losses of found pixels from true ones (B, Q, 2), nan or outside 0..1 where not in the image.

    The heat is to be the bilinear share of the four cells around the pixel, whose mean is the pixel itself; within half
    a cell of the border it is the outermost cell's centre, the nearest that a mean of centres can be.
    weight (B, Q): 0 where the truth is unknown.
    """
    inside = ((pixels > 0) & (pixels < 1)).all(-1)
    at = (pixels.nan_to_num().clamp(0, 1) * CELLS - 0.5).clamp(0, CELLS - 1.001)
    corner, share = at.floor(), at - at.floor()
    log = heat.logits.log_softmax(-1)
    index = (corner[..., 1] * CELLS + corner[..., 0]).long()
    near = torch.stack([index, index + 1, index + CELLS, index + CELLS + 1], -1)
    x, y = share[..., 0], share[..., 1]
    target = torch.stack([(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y], -1)
    found = -(target * log.gather(-1, near)).sum(-1)
    cross = torch.where(inside, found, -log[..., -1])
    away = (heat.pixel - pixels.nan_to_num()).abs()
    laplace = (away / heat.spread.exp() + heat.spread).sum(-1)  # robust: some are quite elsewhere
    known = weight * inside
    close = known * (away.amax(-1) < 3 / CELLS)  # a wrong peak is the cross entropy's business
    return {
        "cross": (cross * weight).sum() / weight.sum().clamp(min=1),
        "spread": (laplace * known).sum() / known.sum().clamp(min=1),
        "pixel": (away.sum(-1) * CELLS * close).sum() / close.sum().clamp(min=1),
    }


def match_loss(match: Tensor, shown: Tensor, things: Tensor) -> Tensor:
    """Return how badly cells tell the named thing; each side counts the same.

    match (B, Q, N) logits; shown (B, Q, N) 1 where a cell shows it; things (B, N) 1 where a cell shows any thing,
    which counts more than bare table. What is nowhere in the image has only the other side.
    """
    negative = (1 - shown) * (0.02 + things[:, None])
    positive = shown / shown.sum(-1, keepdim=True).clamp(min=1)
    negative = negative / negative.sum(-1, keepdim=True).clamp(min=1)
    return (F.softplus(-match) * positive + F.softplus(match) * negative).sum(-1).mean()
