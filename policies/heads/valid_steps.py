"""Steps of a chunk that are not to be imitated: after a person took over, or beyond what was played.

A head must not learn them, nor see them: one that reads the whole noisy chunk would infer from what a corrector did
next what the policy should do now, and does not have it when it acts.

Shapes: B batch, T steps of a chunk, D action dimension.
"""

import torch
from torch import Tensor


def held(actions: Tensor, valid: Tensor) -> Tensor:
    """Return actions (B, T, D) where a step that is not valid (B, T) repeats the last one before it that is."""
    steps = torch.arange(actions.shape[1], device=actions.device)
    last = torch.where(valid, steps, 0).cummax(1).values
    return actions.gather(1, last[..., None].expand_as(actions))


def valid_mean(error: Tensor, valid: Tensor) -> Tensor:
    """Return the mean (B,) over the valid steps (B, T) of an error (B, T); 0 where none is."""
    return (error * valid).sum(1) / valid.sum(1).clamp(min=1)
