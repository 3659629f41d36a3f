"""A sub-task named before the actions, which follow from it (pi0.5, Physical Intelligence 2025, arXiv 2504.16054).

Training gives the true one, which the actions follow from, and teaches to name it; acting follows from the likeliest.

Small here: one of `policies.core.subtasks.SUBTASKS` is chosen; pi0.5 writes free text, token by token.

Shapes: B batch, R tokens read, S sub-tasks, D state dimension, W token width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from policies.core.inputs import Inputs
from policies.core.subtasks import SUBTASKS, UNKNOWN

HIDDEN = 256
WEIGHT = 0.1  # of naming beside the actions: in pi0.5 these count ten times


class SubtaskToken(nn.Module):
    """Names the sub-task by what was read and the pose."""

    def __init__(self, tokens: int, state_dim: int, width: int):
        super().__init__()
        self.logits = nn.Sequential(
            nn.Linear(tokens * width + 3 * state_dim, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, len(SUBTASKS))
        )
        self.token = nn.Embedding(len(SUBTASKS), width)

    def forward(self, read: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """read (B, R, W) -> the token (B, 1, W) of the sub-task, given or named, and logits (B, S)."""
        logits = self.logits(torch.cat([read.flatten(1), inputs.pose], 1))
        named = logits.argmax(1)
        if inputs.subtask is not None:
            named = named.where(inputs.subtask == UNKNOWN, inputs.subtask)
        return self.token(named)[:, None], logits


def subtask_loss(logits: Tensor, true: Tensor) -> Tensor:
    """Return the mean cross entropy of logits (B, S) where the true sub-task (B,) is known, 0 where none is."""
    total = F.cross_entropy(logits, true, ignore_index=UNKNOWN, reduction="sum")
    return total / (true != UNKNOWN).sum().clamp(min=1)
