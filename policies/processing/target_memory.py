"""Which look of an episode saw the target best: a target stands still, while the arm comes to hide it.

The eye says how far off it may be, and later looks of a target are often its worst. Acting and training remember alike:
of the looks that are `execute` steps apart the one with the least error, as long as the same step is due.

Shapes: N frames of a dataset.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from policies.core.inputs import Inputs
from policies.core.spec import PolicySpec
from sim.core.contract import GROUNDING_COLUMNS

TARGET_W = GROUNDING_COLUMNS[1]


def target_error_m(inputs: Inputs, spec: PolicySpec) -> Tensor:
    """Return (B,) m within which the eye says that it is right about the target."""
    assert inputs.points is not None
    return inputs.points[:, spec.points.index(TARGET_W), 3]


def better_look(best: Inputs | None, inputs: Inputs, spec: PolicySpec) -> Inputs:
    """Return the best look so far (1), or a new one (1): a better one, or of another step, which has another target."""
    if best is None or not _same(best.step, inputs.step):
        return inputs
    return inputs if target_error_m(inputs, spec) <= target_error_m(best, spec) else best


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


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    return one is other or (one is not None and other is not None and torch.equal(one, other))
