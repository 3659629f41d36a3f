"""Early exit of a path from noise to a chunk: it is left once where it will end has settled.

A step at flow time t with velocity v tells where the path would end if it went on straight, x + (1 - t) v. Paths that
flow matching learns are nearly straight where one way to act is left, so this end often stops moving before the last
step.

Shapes: B batch, T steps of a chunk, D action dimension.
"""

import torch
from torch import Tensor


class PredictedEnds:
    """The newest end in sight of every path of a batch; of one that moved less than a threshold, the end is kept.

    Each path is left on its own, so that a sample's chunk does not depend on the batch that it is in.
    """

    def __init__(self, below: float, start: Tensor):
        """below: by how much any number of the end may move in a step, above 0. start: (B, T, D), where paths begin."""
        self.chunk = start  # (B, T, D)
        self._below, self._left = below, torch.zeros(len(start), dtype=torch.bool, device=start.device)

    def settle(self, end: Tensor) -> bool:
        """Take the ends (B, T, D) that a step tells; return whether no path needs another step.

        Never while a graph is traced, which would freeze how many steps one look took; what is kept stays there too.
        """
        moved = (end - self.chunk).abs().amax((1, 2))
        self.chunk = torch.where(self._left[:, None, None], self.chunk, end)
        self._left = self._left | (moved < self._below)
        traced = torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
        return not traced and bool(self._left.all())
