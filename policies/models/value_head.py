"""The distributional value of an embedding: a head over bins of the return, which lie evenly from -1 to 0.

`rl.value` fits it; `policies.models.watch` is a few of them beside a checkpoint.

Shapes: B batch, F embedding width.
"""

import torch
from torch import Tensor, nn


class ValueHead(nn.Module):
    """Features -> logits of the bins. Inputs are standardized by the training frames."""

    mean: Tensor
    std: Tensor

    def __init__(self, inputs: int, hidden: int, bins: int, dropout: float = 0.0):
        super().__init__()
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("std", torch.ones(inputs))
        self.net = nn.Sequential(
            nn.Linear(inputs, hidden), nn.LayerNorm(hidden), nn.SiLU(), nn.Dropout(dropout),
            nn.Linear(hidden, hidden), nn.SiLU(), nn.Dropout(dropout),
        )  # fmt: skip
        self.out = nn.Linear(hidden, bins)

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) of any float type -> (B, bins)."""
        return self.out(self.net(((features.float() - self.mean) / self.std).clamp(-8, 8)))

    def values(self, features: Tensor) -> Tensor:
        """(B, F) -> (B,) the expected return, in [-1, 0]."""
        centers = torch.linspace(-1.0, 0.0, self.out.out_features, dtype=torch.float64).float()
        return self(features).softmax(-1) @ centers
