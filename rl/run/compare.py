"""Two evaluations of the same seeds, compared in pairs: McNemar's exact test, paired bootstrap.

Shapes: n episodes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from sim.core.errors import UserError

RESAMPLES = 4000


@dataclass(frozen=True)
class Outcomes:
    """An evaluation's episodes, by seed."""

    seed: np.ndarray  # int (n,), ascending
    success: np.ndarray  # bool (n,)
    time_s: np.ndarray  # (n,)


def read_outcomes(episodes: Sequence[dict]) -> Outcomes:
    """From the episodes of a results.json, in any order."""
    rows = sorted(episodes, key=lambda episode: episode["seed"])
    seed, success, time_s = (np.array([row[name] for row in rows]) for name in ("seed", "success", "time_s"))
    return Outcomes(seed.astype(int), success.astype(bool), time_s.astype(float))


def paired(before: Outcomes, after: Outcomes, seed: int = 0) -> dict:
    """What changed: episodes gained and lost, p of McNemar's test, 95 % interval of the throughput's change
    (successes per hour of all episodes, the failed ones' time included)."""
    if not np.array_equal(before.seed, after.seed):
        raise UserError("the evaluations played different seeds; give both the same episodes and seed")
    gained = int((~before.success & after.success).sum())
    lost = int((before.success & ~after.success).sum())
    picks = np.random.default_rng(seed).integers(len(before.seed), size=(RESAMPLES, len(before.seed)))
    low, high = np.quantile(_throughput(after, picks) - _throughput(before, picks), [0.025, 0.975])
    return {
        "gained": gained,
        "lost": lost,
        "p_success": mcnemar(gained, lost),
        "throughput_change_low": float(low),
        "throughput_change_high": float(high),
    }


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided exact p: the chance of such a split when a change is as likely either way."""
    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def _throughput(outcomes: Outcomes, picks: np.ndarray) -> np.ndarray:
    """(resamples,) successes per hour of the picked episodes (resamples, n)."""
    hours = outcomes.time_s[picks].sum(1) / 3600
    return outcomes.success[picks].sum(1) / np.maximum(hours, 1e-9)
