"""n-step advantages, the per-task threshold and the indicator (RECAP, pi*-0.6, appendix F). Pure numpy.

    A_t = r_t + ... + r_{t+n-1} + V(o_{t+n}) - V(o_t);   I_t = 1[A_t > epsilon], 1 on interventions that succeeded

Departures. The paper's section V-D takes epsilon as a percentile of VALUES, which makes the bit
constant; its appendix F, followed here, lets a fraction of ADVANTAGES be positive. A window that
crosses the end takes the true remaining return, not clipped, and no bootstrap (the paper is
silent). Forced frames stay out of the quantile, or they would drag it.

Shapes: T frames of an episode, N frames of all.
"""

from collections.abc import Mapping

import numpy as np

from rl.advantage.returns import ReturnScale, returns


def n_step(steps: np.ndarray, values: np.ndarray, n: int, scale: ReturnScale) -> np.ndarray:
    """Return the advantages (T,) in value units.

    steps: (T,) rewards in steps of one episode, values: (T,) in [-1, 0] of its frames.
    """
    if n < 1:
        raise ValueError(f"n is {n}, expected at least 1")
    ahead = np.concatenate([returns(steps), np.zeros(n)])
    later = np.concatenate([values, np.zeros(n)])[n:]
    return (ahead[:-n] - ahead[n:]) / scale.steps_per_unit + later - values


def threshold(advantages: np.ndarray, positive_fraction: float) -> float:
    """Return epsilon: `positive_fraction` of these advantages lies strictly above it (less where they tie)."""
    if not 0.0 < positive_fraction < 1.0:
        raise ValueError(f"positive_fraction is {positive_fraction}, expected between 0 and 1")
    if not len(advantages):
        raise ValueError("no advantages to take a threshold from")
    return float(np.quantile(advantages, 1.0 - positive_fraction, method="inverted_cdf"))


def thresholds(
    advantages: np.ndarray, tasks: np.ndarray, pool: np.ndarray, positive_fraction: float
) -> dict[str, float]:
    """Return task -> epsilon. tasks: (N,) names; pool: bool (N,), the frames the quantile is taken over."""
    return {str(task): threshold(advantages[pool & (tasks == task)], positive_fraction) for task in np.unique(tasks)}


def indicate(
    advantages: np.ndarray, tasks: np.ndarray, epsilons: Mapping[str, float], forced: np.ndarray
) -> np.ndarray:
    """bool (N,): above its task's epsilon, or forced (bool (N,), interventions that succeeded)."""
    epsilon = np.array([epsilons[str(task)] for task in tasks])
    return (advantages > epsilon) | forced


def end_decile(length: int) -> np.ndarray:
    """int (T,): 9 in the first tenth of an episode, 0 in its last."""
    return (np.arange(length)[::-1] * 10) // max(length, 1)
