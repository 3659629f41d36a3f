"""Depth images as tokens, one a camera, by a small network from scratch that is trained with the actions.

The network is shown one over depth, in which a stereo camera's noise is even, and what stands out from its
surroundings: an object is a few centimetres high at most of a metre, a difference that it would be slow to learn.

Shapes: B batch, C cameras, W token width, `SIDE` cells along a side.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from policies.core.depth import SIDE

NEAR_M = 0.1  # shown as 1
AROUND = 13  # cells, about three times an object
RELIEF_M, LARGEST = 0.01, 5.0
CHANNELS = 32


class DepthTokens(nn.Module):
    """The cells of every camera to tokens."""

    def __init__(self, cameras: Sequence[str], width: int):
        super().__init__()
        self.cameras = nn.ModuleDict({camera: _encoder(width) for camera in cameras})

    def __len__(self) -> int:
        return len(self.cameras)

    def forward(self, depth: dict[str, Tensor]) -> list[Tensor]:
        """camera -> (B, `SIDE`, `SIDE`), m, 0 where there is none; returns (B, W) of each camera."""
        return [encoder(shown(depth[camera])) for camera, encoder in self.cameras.items()]


def shown(cells: Tensor) -> Tensor:
    """Return (B, 3, `SIDE`, `SIDE`): `NEAR_M` over depth, how far it stands out from what is around it, in units of
    `RELIEF_M`, and 1 where depth is known; 0 where it is not."""
    known = (cells > 0).float()
    around = _mean_around(cells) / _mean_around(known).clamp(min=1e-6)
    relief = ((around - cells) / RELIEF_M).clamp(-LARGEST, LARGEST)
    return torch.stack([NEAR_M / cells.clamp(min=NEAR_M / 2) * known, relief * known, known], 1)


def _mean_around(cells: Tensor) -> Tensor:
    rows = F.avg_pool2d(cells[:, None], (AROUND, 1), 1, (AROUND // 2, 0))
    return F.avg_pool2d(rows, (1, AROUND), 1, (0, AROUND // 2))[:, 0]


def _encoder(width: int) -> nn.Module:
    """Patches of four cells a side, mixed with their neighbours, all in a row to one token."""
    patches = nn.Conv2d(3, CHANNELS, 4, 4)
    around = nn.Conv2d(CHANNELS, CHANNELS, 3, 2, 1)
    left = (SIDE // 8) ** 2
    return nn.Sequential(patches, nn.GELU(), around, nn.GELU(), nn.Flatten(), nn.Linear(left * CHANNELS, width))
