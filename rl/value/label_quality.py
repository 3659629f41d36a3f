"""How good a value is: on episodes it has not seen, and how much better it looks on those it has.

Shapes: N frames of a pool, E episodes.
"""

import numpy as np
from scipy.stats import rankdata

from rl.advantage.labels import Targets
from rl.data.pool import DEMONSTRATION, ROLLOUT, Pool
from rl.value.value import CrossFit
from sim.core.contract import POLICY_PERIOD_S

MOMENTS = (0.25, 0.5, 0.75)  # of an episode
CLOCK_S = (2.0, 4.0)


def value_report(pool: Pool, goal: Targets, fit: CrossFit) -> dict:
    """Rank correlation with the return, success AUC in the rollouts, gap to in-sample, bias by source."""
    taught = goal.teaches
    rollouts = taught & (pool.frames(pool.source) == ROLLOUT)
    held_out, in_sample = (spearman(v[taught], goal.values[taught]) for v in (fit.values, fit.in_sample))
    losses = {name: float(np.mean([log[name] for log in fit.history])) for name in ("train_loss", "held_out_loss")}
    return {
        "spearman_held_out": held_out,
        "spearman_in_sample": in_sample,
        "spearman_rollouts": spearman(fit.values[rollouts], goal.values[rollouts]),
        **{f"auc_{round(100 * moment)}": auc_at(pool, fit.values, moment) for moment in MOMENTS},
        **{f"auc_{clock_s:.0f}s": auc_after(pool, fit.values, clock_s) for clock_s in CLOCK_S},
        **losses,
        "gap": losses["held_out_loss"] - losses["train_loss"],
        "bias_demonstrations": _bias(pool, goal, fit.values, DEMONSTRATION),
        "bias_rollouts": _bias(pool, goal, fit.values, ROLLOUT),
    }


def spearman(values: np.ndarray, wanted: np.ndarray) -> float | None:
    """Rank correlation; None where one of both does not vary."""
    if len(values) < 3 or np.ptp(values) == 0 or np.ptp(wanted) == 0:
        return None
    return float(np.corrcoef(rankdata(values), rankdata(wanted))[0, 1])


def auc(scores: np.ndarray, success: np.ndarray) -> float | None:
    """Chance that a success scores above a failure (Mann-Whitney); None with one outcome only."""
    wins, losses = int(success.sum()), int((~success).sum())
    if not wins or not losses:
        return None
    return float((rankdata(scores)[success].sum() - wins * (wins + 1) / 2) / (wins * losses))


def auc_at(pool: Pool, values: np.ndarray, moment: float) -> float | None:
    """Success AUC of the value at a moment (0..1) of each autonomous rollout, so that no style of another
    source can be what tells them apart."""
    rollouts = np.flatnonzero(pool.source == ROLLOUT)
    frames = pool.first[rollouts] + np.rint(moment * (pool.length[rollouts] - 1)).astype(int)
    return auc(values[frames], pool.success[rollouts])


def auc_after(pool: Pool, values: np.ndarray, clock_s: float) -> float | None:
    """The same so many seconds into the rollouts that still run: a time-out's middle comes later than a success's."""
    step = round(clock_s / POLICY_PERIOD_S)
    running = np.flatnonzero((pool.source == ROLLOUT) & (pool.length > step))
    return auc(values[pool.first[running] + step], pool.success[running])


def _bias(pool: Pool, goal: Targets, values: np.ndarray, source: str) -> float | None:
    """Mean of value minus return over a source's successes: unequal biases show a value that tells who acts."""
    rows = goal.teaches & pool.frames((pool.source == source) & pool.success)
    return float((values - goal.values)[rows].mean()) if rows.any() else None
