"""Which look of an episode saw the target best: a target stands still, while the arm comes to hide it.

The eye says how far off it may be, and later looks of a target are often its worst. Training and acting remember alike:
of the looks that are `execute` steps apart the one with the least error, as long as the same step is due.

Shapes: N frames of a dataset.
"""

from collections.abc import Sequence

import numpy as np

from policies.core.inputs import Inputs
from policies.core.interface import Policy
from policies.models.remembered_target import better, nothing_kept


class TargetMemory:
    """Keeps the target of an episode."""

    def __init__(self, policy: Policy):
        self._policy = policy
        self.begin()

    def begin(self) -> None:
        """Begin an episode."""
        self.kept, self._step = nothing_kept(), -1

    def see(self, inputs: Inputs) -> Inputs:
        """Return a look (1) with the target that is kept, this look's own where that is better or of another step."""
        step = -1 if inputs.step is None else int(inputs.step)
        if step != self._step:
            self.kept, self._step = nothing_kept(), step
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
