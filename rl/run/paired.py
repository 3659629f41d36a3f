"""Two evaluations of the same seeds compared in pairs: McNemar's exact test, paired bootstrap.

Shapes: n episodes, R resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.core.errors import UserError
from sim.episode.results import throughput_interval

RESAMPLES = 4000


@dataclass(frozen=True)
class Outcomes:
    """An evaluation's episodes, by seed."""

    seed: np.ndarray  # int (n,), ascending
    success: np.ndarray  # bool (n,)
    time_s: np.ndarray  # (n,)


def read_outcomes(episodes: Sequence[dict]) -> Outcomes:
    """Read the episodes of a results.json, in any order."""
    rows = sorted(episodes, key=lambda episode: episode["seed"])
    seed, success, time_s = (np.array([row[name] for row in rows]) for name in ("seed", "success", "time_s"))
    return Outcomes(seed.astype(int), success.astype(bool), time_s.astype(float))


def paired(before: Outcomes, after: Outcomes, seed: int = 0) -> dict:
    """Return the episodes gained and lost, McNemar's p, and the 95 % interval of the throughput's change.

    Throughput: successes per hour of all episodes, the time of failures included. UserError when the seeds differ.
    """
    if not np.array_equal(before.seed, after.seed):
        raise UserError("the evaluations played different seeds; give both the same episodes and seed")
    gained = int((~before.success & after.success).sum())
    lost = int((before.success & ~after.success).sum())
    low, high = _throughput_change_interval(before, after, seed)
    return {
        "gained": gained,
        "lost": lost,
        "p_success": mcnemar(gained, lost),
        "throughput_change_low": low,
        "throughput_change_high": high,
    }


def mcnemar(gained: int, lost: int) -> float:
    """Return the two-sided exact p that gains and losses are equally likely."""
    from statsmodels.stats.contingency_tables import mcnemar as exact_mcnemar  # a second's import: only who asks waits

    result: Any = exact_mcnemar([[0, gained], [lost, 0]], exact=True)
    return float(result.pvalue)


def _throughput_change_interval(before: Outcomes, after: Outcomes, seed: int) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval over episodes, the pairs kept together; of failures alone, whose
    resamples are certain that nothing changed, what the interval of each evaluation by itself leaves possible."""
    from scipy.stats import bootstrap  # a second's import: only who asks waits

    if not (before.success.any() or after.success.any()):
        return -_most_of_failures(before.time_s), _most_of_failures(after.time_s)
    data = (before.success, before.time_s, after.success, after.time_s)
    if len(before.seed) < 2:  # nothing to resample
        change = float(_throughput_change(*data, axis=-1))
        return change, change
    found = bootstrap(
        data, _throughput_change, paired=True, vectorized=True, n_resamples=RESAMPLES, method="percentile",
        rng=np.random.default_rng(seed),
    )  # fmt: skip
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _most_of_failures(time_s: np.ndarray) -> float:
    """Return how many successes an hour may be true where none of these episodes (n,) was one."""
    _, high = throughput_interval([{"success": False, "time_s": one} for one in time_s])
    return high or 0.0


def _throughput_change(success_a, time_a, success_b, time_b, axis: int) -> np.ndarray:
    """(..., n) episodes -> (...), successes per hour of b minus those of a."""
    return _throughput(success_b, time_b, axis) - _throughput(success_a, time_a, axis)


def _throughput(success: np.ndarray, time_s: np.ndarray, axis: int) -> np.ndarray:
    return success.sum(axis) * 3600 / np.maximum(time_s.sum(axis), 1e-9)
