"""What the tool feels, as one token.

Forces span from a tenth of a newton, a peg that touches a wall, to a hundred, one that is pressed onto a table: each
number is taken as the arsinh of how many of its units it has, about linear below one and logarithmic above.
"""

import torch
from torch import Tensor, nn

from sim.core.contract import TOUCH_NAMES

UNITS = (20.0, 3.0, 3.0, 3.0, 0.1, 0.1, 0.1)  # N, and N·m for torques


class TouchToken(nn.Module):
    """A reading to a token."""

    units: Tensor

    def __init__(self, width: int):
        super().__init__()
        self.linear = nn.Linear(len(TOUCH_NAMES), width)
        self.register_buffer("units", torch.tensor(UNITS), persistent=False)

    def forward(self, touch: Tensor) -> Tensor:
        """(B, 7) as `sim.core.contract.TOUCH_NAMES` has it -> (B, W)."""
        return self.linear((touch / self.units).asinh())
