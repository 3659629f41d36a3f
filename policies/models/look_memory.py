"""Memory of the last looks: what a fusion makes of each is handed on, oldest first (Octo, arXiv 2405.12213: a history).

Small here: every look is fused alone, and the head alone joins them; Octo's transformer attends across looks.

Shapes: B batch, K earlier looks, P prefix tokens of a look, W token width.
"""

from dataclasses import replace

import torch
from torch import nn

from policies.core.inputs import Inputs
from policies.core.parts import Fusion, Prefix


class LookMemory(nn.Module):
    """Marks the tokens of an earlier look by its age, and puts them before those of the present one."""

    def __init__(self, looks: int, width: int):
        """looks: K."""
        super().__init__()
        self.age = nn.Parameter(0.02 * torch.randn(looks, 1, 1, width))

    def forward(self, fusion: Fusion, inputs: Inputs) -> Prefix:
        """Return the present look's prefix with tokens (B, (K + 1) P, W).

        Without earlier looks, as an episode begins, the present one stands for them.
        """
        before = inputs.before or (inputs,) * len(self.age)
        now = fusion(inputs)
        earlier = fusion(Inputs.concatenate(before)).tokens.unflatten(0, (len(before), -1)) + self.age
        return replace(now, tokens=torch.cat([*earlier, now.tokens], 1))
