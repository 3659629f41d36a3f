"""Action chunks as a network learns them: relative to the joints measured at the chunk's start, normalized.

The gripper, last, is absolute. Mean and standard deviation are of each step and dimension.
Shapes: B batch, N samples, T chunk, D state and action dimension.
"""

import torch
from torch import Tensor, nn

MIN_STD = 0.01


class ActionNormalizer(nn.Module):
    """Absolute targets to normalized relative ones and back; the constants are buffers."""

    mean: Tensor
    std: Tensor

    def __init__(self, chunk: int, action_dim: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(chunk, action_dim))
        self.register_buffer("std", torch.ones(chunk, action_dim))

    def fit(self, actions: Tensor, valid: Tensor, state: Tensor) -> None:
        """Set the constants from actions (N, T, D), of which valid (N, T) ones count, and states (N, D)."""
        relative = actions - _origin(state)
        weight = valid[..., None].float()
        count = weight.sum(0).clamp(min=1)
        mean = (relative * weight).sum(0) / count
        std = (((relative - mean) ** 2 * weight).sum(0) / count).sqrt()
        self.mean.copy_(mean)
        self.std.copy_(std.clamp(min=MIN_STD))

    def normalize(self, actions: Tensor, state: Tensor) -> Tensor:
        """actions (B, T, D), state (B, D) -> (B, T, D)."""
        return (actions - _origin(state) - self.mean) / self.std

    def denormalize(self, chunk: Tensor, state: Tensor) -> Tensor:
        """The inverse of `normalize`."""
        return chunk * self.std + self.mean + _origin(state)


def _origin(state: Tensor) -> Tensor:
    """(B, 1, D): the measured joints, zero for the gripper."""
    origin = state[:, None].clone()
    origin[..., -1] = 0.0
    return origin
