"""Which look of an episode saw the target best: a target stands still, while the arm comes to hide it.

The eye says how far off it may be, and later looks of a target are often its worst. Training and acting remember looks
that are `execute` steps apart, for every step of a long instruction by itself. Of an instruction of one step they
remember alike. Of a longer one acting keeps the target of every step from the first look on, since the step that is due
depends on where targets are; training, which is told the step that is due alone, remembers since that step is due. So
acting may know the target of a later step better than training showed, never worse.

Shapes: B batch, S steps of an instruction, N frames of a dataset.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from policies.core.inputs import Inputs
from policies.core.interface import Policy
from sim.core.contract import TURN_NAMES

ERROR = 3  # the place of the error in what is kept: after the target's place, before its turn
KEPT = ERROR + 1 + len(TURN_NAMES)


def better(before: Tensor, now: Tensor) -> Tensor:
    """Return what is kept (B, KEPT) after a look: what was kept before, or what the look shows where that is surer."""
    surer = now[:, ERROR] <= before[:, ERROR]
    return torch.where(surer[:, None], now, before)


def nothing_kept() -> Tensor:
    """Return (1, KEPT), what is kept before the first look: any look is surer."""
    return torch.full((1, KEPT), torch.inf)


class TargetMemory:
    """Keeps an episode's target, of a long instruction the target of every step."""

    def __init__(self, policy: Policy):
        self._policy = policy
        self.begin()

    def begin(self) -> None:
        """Begin an episode."""
        self.kept, self._told = nothing_kept(), ""

    def listen(self, instruction: str) -> None:
        """Forget the target where the next look is told something else."""
        if instruction != self._told:
            self.begin()
            self._told = instruction

    def see(self, inputs: Inputs) -> Inputs:
        """Return a look (S), told each step, with the targets that are kept: its own where it is the better look."""
        self.kept = better(self.kept, self._policy.keep_target(inputs))
        return self._policy.with_target(inputs, self.kept)


def best_looks(error_m: np.ndarray, frame: np.ndarray, told: Sequence[str], steps: int) -> np.ndarray:
    """Return for each frame (N,) the row of the best look among its own and those `steps`, 2 `steps`, ... before.

    error_m: (N,) of the target. frame: (N,) its number in its episode. told: what a policy is told at each.
    """
    best = np.arange(len(frame))
    for row in np.flatnonzero(frame >= steps).tolist():
        before = row - steps
        if told[row] == told[before] and error_m[best[before]] < error_m[row]:
            best[row] = best[before]
    return best
