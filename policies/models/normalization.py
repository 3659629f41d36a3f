"""Action chunks as a network learns them: relative to the joints that the chunk starts from, normalized.

Those are the measured or the commanded ones. The gripper, last, is absolute. Mean and standard deviation are of each
step and dimension.
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

    def fit(self, actions: Tensor, valid: Tensor, start: Tensor) -> None:
        """Set the constants from actions (N, T, D), of which valid (N, T) ones count, and starts (N, D)."""
        relative = actions - _origin(start)
        weight = valid[..., None].float()
        count = weight.sum(0).clamp(min=1)
        mean = (relative * weight).sum(0) / count
        std = (((relative - mean) ** 2 * weight).sum(0) / count).sqrt()
        self.mean.copy_(mean)
        self.std.copy_(std.clamp(min=MIN_STD))

    def normalize(self, actions: Tensor, start: Tensor) -> Tensor:
        """actions (B, t, D), the first t <= T steps of chunks, start (B, D) -> (B, t, D)."""
        steps = actions.shape[1]
        return (actions - _origin(start) - self.mean[:steps]) / self.std[:steps]

    def denormalize(self, chunk: Tensor, start: Tensor) -> Tensor:
        """The inverse of `normalize`, of whole chunks."""
        return chunk * self.std + self.mean + _origin(start)


def _origin(start: Tensor) -> Tensor:
    """(B, 1, D): the joints, zero for the gripper."""
    origin = start[:, None].clone()
    origin[..., -1] = 0.0
    return origin
