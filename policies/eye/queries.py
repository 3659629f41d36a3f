"""An instruction to what is looked for: a query for its object and one for its target.

A query is compared with every place: the likeness of vectors, and of colours as points in RGB, so that a colour and a
kind that were never seen together still add up.

Shapes: B instructions, L words, R = 2 roles.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

ROLES, SLOTS = 2, 2
HEADS = 4  # of the reader's attention


@dataclass
class Queries:
    """What is looked for, (B, R, ...) each."""

    point: Tensor  # to compare with a place's features: is the point here?
    match: Tensor  # does this cell show the thing?
    colour: Tensor  # RGB, 0..1
    gates: Tensor  # (.., 2) how much the colour counts for point and match
    height: Tensor  # (.., 2) m above the table: mean, logarithm of the deviation
    vector: Tensor


class Reader(nn.Module):
    """Token states of a frozen language model to queries."""

    def __init__(self, text_width: int, width: int, point: int, match: int):
        super().__init__()
        self.sizes = (point, match, 3, 2, 2)
        self.project = nn.Linear(text_width, width)
        self.mix = nn.TransformerEncoderLayer(width, HEADS, 2 * width, 0.0, batch_first=True, norm_first=True)
        self.slots = nn.Parameter(torch.randn(ROLES * SLOTS, width) * width**-0.5)
        self.key, self.value = nn.Linear(width, width), nn.Linear(width, width)
        self.out = nn.Linear(SLOTS * width, sum(self.sizes))
        nn.init.normal_(self.out.weight, std=0.02)

    def forward(self, words: Tensor, mask: Tensor) -> Queries:
        """words (B, L, text_width), mask (B, L) True where there is a word."""
        vector = self.vectors(words, mask)
        point, match, colour, gates, height = self.out(vector).split(self.sizes, -1)
        height = torch.stack([0.1 * height[..., 0], height[..., 1] - 4.0], -1)
        return Queries(point, match, colour.sigmoid(), gates.sigmoid(), height, vector)

    def vectors(self, words: Tensor, mask: Tensor) -> Tensor:
        """Return what was read about each role, (B, R, SLOTS * width)."""
        x = self.mix(self.project(words), src_key_padding_mask=~mask)
        logits = torch.einsum("sw,blw->bsl", self.slots, self.key(x))
        weights = logits.masked_fill(~mask[:, None], -torch.inf).softmax(-1)
        return torch.einsum("bsl,blw->bsw", weights, self.value(x)).unflatten(1, (ROLES, SLOTS)).flatten(2)
