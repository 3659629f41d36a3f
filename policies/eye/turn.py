"""How object and target are turned: a closer look at where each was found, by a small network for each camera.

A book and a square hole are the same after a half or a quarter turn, so what is found are cosine and sine of two and
of four times the angle, as `sim.core.contract.TURN_COLUMNS` has them. They shrink where the angle is not sure.

Shapes: B observations, V = 4 of these numbers.
"""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from policies.eye.trunk import as_rgb, convolve, cut_out_offsets
from sim.core.contract import TURN_NAMES

SAMPLES = 48  # a side of the cut-out
WIDTHS = (16, 32, 48, 64)  # channels at 24, 12, 6 and 3 cells a side
NEAR, FAR = 96, 48  # px of the image that it spans, of a camera on the tool and of one on the bench
NUMBERS = len(TURN_NAMES)


class TurnView(nn.Module):
    """A cut-out of one camera's image to how what it shows is turned, from what carries the camera: tool or base."""

    offsets: Tensor

    def __init__(self, *, on_tool: bool):
        super().__init__()
        self.on_tool = on_tool
        channels = zip((3, *WIDTHS), WIDTHS, strict=False)
        self.layers = nn.Sequential(*(convolve(before, after, 2) for before, after in channels), nn.Flatten())
        cells = (SAMPLES >> len(WIDTHS)) ** 2
        self.out = nn.Sequential(nn.Linear(WIDTHS[-1] * cells + 2, 64), nn.SiLU(), nn.Linear(64, NUMBERS + 1))
        self.register_buffer("offsets", cut_out_offsets(SAMPLES, NEAR if on_tool else FAR), persistent=False)

    def forward(self, images: Tensor, pixel: Tensor) -> tuple[Tensor, Tensor]:
        """images uint8 (B, SIDE, SIDE, 3), pixel (B, 2) in units of the side -> numbers (B, V), their weight (B, 1)."""
        places = 2 * (pixel[:, None, None] + self.offsets) - 1
        cut_out = F.grid_sample(as_rgb(images), places, align_corners=False)
        out = self.out(torch.cat([self.layers(cut_out), pixel - 0.5], 1))
        return out[:, :NUMBERS], F.softplus(out[:, NUMBERS:])


class TurnFinder(nn.Module):
    """The views of all cameras, weighted."""

    def __init__(self, cameras: Mapping[str, bool]):
        """cameras: name -> whether it is on the tool."""
        super().__init__()
        self.views = nn.ModuleDict({name: TurnView(on_tool=on_tool) for name, on_tool in cameras.items()})

    def forward(
        self, images: Mapping[str, Tensor], pixels: Mapping[str, Tensor], presence: Mapping[str, Tensor],
        rotation: Tensor,
    ) -> Tensor:  # fmt: skip
        """Return (B, V), seen from the tool.

        Of each camera: images uint8 (B, SIDE, SIDE, 3), where the thing is in it (B, 2), how likely it is there (B,).
        rotation (B, 3, 3): of the tool in the base frame.
        """
        total, weights = rotation.new_zeros(len(rotation), NUMBERS), rotation.new_full((len(rotation), 1), 1e-3)
        for name, one in images.items():
            view = cast(TurnView, self.views[name])
            found, sure = view(one, pixels[name])
            weight = sure * presence[name][:, None]
            total = total + weight * (found if view.on_tool else from_tool(found, rotation))
            weights = weights + weight
        return total / weights


def from_tool(turn: Tensor, rotation: Tensor) -> Tensor:
    """Return how things are turned from a tool that points down; turn (B, V) or (B, R, V): from the base, rotation
    (B, 3, 3).

    And the other way round: it is its own inverse.
    """
    x, y = F.normalize(rotation[:, 0, :2], dim=1).unbind(1)  # the base's x axis, seen from the tool
    if turn.dim() > 2:
        x, y = x[:, None], y[:, None]
    twice, seen = (x * x - y * y, 2 * x * y), []
    four_times = twice[0] ** 2 - twice[1] ** 2, 2 * twice[0] * twice[1]
    for (c, s), pair in zip((twice, four_times), turn.split(2, -1), strict=True):
        a, b = pair.unbind(-1)
        seen += [c * a + s * b, s * a - c * b]  # seen from above and from below, angles run the other way round
    return torch.stack(seen, -1)
