"""What policies see of a depth image: the mean of what is known in each of a few cells.

Shapes: B batch, H, W pixels, `SIDE` cells along a side.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

SIDE = 48


def depth_cells(depth_mm: Tensor) -> Tensor:
    """Return cells (B, `SIDE`, `SIDE`), m, of (B, H, W): the mean of what is known in each, 0 where nothing is."""
    depth_m = depth_mm.float()[:, None] / 1e3
    total, known = (F.adaptive_avg_pool2d(one, SIDE) for one in (depth_m, (depth_m > 0).float()))
    return torch.where(known > 0, total / known.clamp(min=1e-6), torch.zeros_like(total))[:, 0]
