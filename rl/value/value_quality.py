"""How good a value is on episodes it was not fitted to, beside in-sample and beside what elapsed time alone gives.

Shapes: N frames of a pool, E episodes, K folds.
"""

import numpy as np

from rl.advantage.targets import Targets
from rl.data.pool import DEMONSTRATION, ROLLOUT, Pool
from rl.value.cross_fit import CrossFit
from sim.core.errors import UserError

MOMENTS = (0.25, 0.5, 0.75)  # of an episode
CLOCK_S = (2.0, 4.0)
TIME_BIN_S = 0.5
CALIBRATION_BINS = 10
MEMORIZED = 0.15  # rank correlation in-sample above held-out
ABOVE_TIME = 0.1  # rank correlation that a useful value has above elapsed time


def value_report(pool: Pool, targets: Targets, fit: CrossFit) -> dict:
    """Return rank correlation with the return, calibration, success AUC in the rollouts, gap to in-sample, bias."""
    mask, values = targets.value_mask, fit.values
    rollouts = mask & (pool.per_frame(pool.source) == ROLLOUT)
    elapsed = elapsed_time_values(pool, targets, fit.fold)
    losses = {name: float(np.mean([log[name] for log in fit.history])) for name in ("train_loss", "held_out_loss")}
    return {
        "spearman_held_out": spearman(values[mask], targets.values[mask]),
        "spearman_in_sample": spearman(fit.in_sample[mask], targets.values[mask]),
        "spearman_rollouts": spearman(values[rollouts], targets.values[rollouts]),
        "spearman_rollouts_elapsed_time": spearman(elapsed[rollouts], targets.values[rollouts]),
        "calibration_error_rollouts": calibration_error(values[rollouts], targets.values[rollouts]),
        **{f"auc_{round(100 * moment)}": auc_at(pool, values, moment) for moment in MOMENTS},
        **{f"auc_{round(100 * moment)}_elapsed_time": auc_at(pool, elapsed, moment) for moment in MOMENTS},
        **{f"auc_{clock_s:.0f}s": auc_after(pool, values, clock_s) for clock_s in CLOCK_S},
        **losses,
        "gap": losses["held_out_loss"] - losses["train_loss"],
        "bias_demonstrations": _bias(pool, targets, values, DEMONSTRATION),
        "bias_rollouts": _bias(pool, targets, values, ROLLOUT),
    }


def value_warnings(report: dict) -> list[str]:
    """Return a line for every sign that labels from this value are noise. report: of `value_report`."""
    held_out, in_sample = report["spearman_held_out"], report["spearman_in_sample"]
    rollouts, elapsed = report["spearman_rollouts"], report["spearman_rollouts_elapsed_time"]
    found = []
    if held_out is not None and in_sample is not None and in_sample - held_out > MEMORIZED:
        found.append(
            f"the value memorizes: rank correlation {in_sample:.2f} in-sample, {held_out:.2f} held out; "
            "collect more episodes or make value.hidden smaller"
        )
    if rollouts is not None and elapsed is not None and rollouts < elapsed + ABOVE_TIME:
        found.append(
            "the value predicts the return hardly better than elapsed time: rank correlation "
            f"{rollouts:.2f} on held-out rollouts, {elapsed:.2f} from elapsed time alone"
        )
    return found


def check_outcomes(pool: Pool) -> list[str]:
    """Return warnings about data in which outcomes hardly differ. UserError when no episode succeeded."""
    if not pool.success.any():
        raise UserError(
            f"none of the {len(pool.success)} episodes succeeded: there is nothing to tell good from bad by"
        )
    rollouts = pool.success[_judged_rollouts(pool)]
    if len(rollouts) and rollouts.all():
        return [f"all {len(rollouts)} rollouts succeeded: the value learns speed, not what leads to failure"]
    if len(rollouts) and not rollouts.any():
        return [f"all {len(rollouts)} rollouts failed: the value may learn who acts, not how well"]
    return []


def elapsed_time_values(pool: Pool, targets: Targets, fold: np.ndarray) -> np.ndarray:
    """(N,) the mean return of the other folds' frames at the same time since the start. fold: int (N,)."""
    time_bin = pool.frame // max(1, round(TIME_BIN_S * pool.fps))
    values = np.zeros(len(pool.owner))
    for k in np.unique(fold):
        own = fold == k
        others = targets.value_mask & ~own
        count = np.bincount(time_bin[others], minlength=time_bin.max() + 1)
        total = np.bincount(time_bin[others], targets.values[others], minlength=len(count))
        known = np.flatnonzero(count)
        means = np.interp(np.arange(len(count)), known, total[known] / count[known])
        values[own] = means[time_bin[own]]
    return values


def spearman(values: np.ndarray, wanted: np.ndarray) -> float | None:
    """Return the rank correlation; None where one of both does not vary."""
    if len(values) < 3 or np.ptp(values) == 0 or np.ptp(wanted) == 0:
        return None
    from scipy.stats import spearmanr  # a second's import: only who asks waits

    return float(spearmanr(values, wanted).statistic)  # pyright: ignore[reportAttributeAccessIssue]


def auc(scores: np.ndarray, success: np.ndarray) -> float | None:
    """Return the chance that a success scores above a failure (Mann-Whitney); None with one outcome only."""
    wins, losses = scores[success], scores[~success]
    if not len(wins) or not len(losses):
        return None
    from scipy.stats import mannwhitneyu  # a second's import: only who asks waits

    return float(mannwhitneyu(wins, losses).statistic) / (len(wins) * len(losses))


def calibration_error(values: np.ndarray, wanted: np.ndarray) -> float | None:
    """Return the mean distance of predicted from actual mean return, over tenths of the frames by predicted value."""
    if len(values) < CALIBRATION_BINS:
        return None
    parts = np.array_split(np.argsort(values, kind="stable"), CALIBRATION_BINS)
    return float(np.mean([abs(values[part].mean() - wanted[part].mean()) for part in parts]))


def auc_at(pool: Pool, values: np.ndarray, moment: float) -> float | None:
    """Return the success AUC of the value at a moment (0..1) of each autonomous rollout.

    Of rollouts alone: between sources the style of acting would give the outcome away.
    """
    rollouts = np.flatnonzero(_judged_rollouts(pool))
    frames = pool.first[rollouts] + np.rint(moment * (pool.length[rollouts] - 1)).astype(int)
    return auc(values[frames], pool.success[rollouts])


def auc_after(pool: Pool, values: np.ndarray, clock_s: float) -> float | None:
    """Return the success AUC so many seconds into the rollouts that still run: the time elapsed is the same for all."""
    step = round(clock_s * pool.fps)
    running = np.flatnonzero(_judged_rollouts(pool) & (pool.length > step))
    return auc(values[pool.first[running] + step], pool.success[running])


def _judged_rollouts(pool: Pool) -> np.ndarray:
    """bool (E,): autonomous rollouts with an outcome."""
    return (pool.source == ROLLOUT) & ~pool.cut_off


def _bias(pool: Pool, targets: Targets, values: np.ndarray, source: str) -> float | None:
    """Return the mean of value minus return over a source's successes: unequal biases show that it knows who acts."""
    rows = targets.value_mask & pool.per_frame((pool.source == source) & pool.success)
    return float((values - targets.values)[rows].mean()) if rows.any() else None
