"""Evaluations side by side: success with its Wilson interval, throughput with a bootstrap one, and, as
the same seeds are played, paired comparisons (McNemar exactly; paired bootstrap).

Throughput counts the time of failed episodes too: successes per hour of playing.

Shapes: n episodes.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from sim.errors import UserError

RESAMPLES = 4000


@dataclass(frozen=True)
class Outcomes:
    """An evaluation's episodes, by seed."""

    seed: np.ndarray  # int (n,), ascending
    success: np.ndarray  # bool (n,)
    time_s: np.ndarray  # (n,)


def read_outcomes(results: dict) -> Outcomes:
    """From the content of a results.json."""
    episodes = sorted(results["episodes"], key=lambda episode: episode["seed"])
    columns = {name: np.array([episode[name] for episode in episodes]) for name in ("seed", "success", "time_s")}
    return Outcomes(columns["seed"].astype(int), columns["success"].astype(bool), columns["time_s"].astype(float))


def summary(outcomes: Outcomes, seed: int = 0) -> dict:
    """Success, throughput and time with 95 % intervals."""
    n, wins = len(outcomes.seed), int(outcomes.success.sum())
    interval = binomtest(wins, n).proportion_ci(method="wilson")
    low, high = np.quantile(_throughputs(outcomes, _resample(n, seed)), [0.025, 0.975])
    return {
        "n": n,
        "success_rate": wins / n,
        "ci_low": float(interval.low),
        "ci_high": float(interval.high),
        "throughput_per_hour": float(_throughputs(outcomes, np.arange(n)[None])[0]),
        "throughput_ci_low": float(low),
        "throughput_ci_high": float(high),
        "mean_time_s": float(outcomes.time_s[outcomes.success].mean()) if wins else None,
    }


def paired(before: Outcomes, after: Outcomes, seed: int = 0) -> dict:
    """What changed on the same seeds: episodes gained and lost, p of McNemar's test, throughput difference."""
    if not np.array_equal(before.seed, after.seed):
        raise UserError("the evaluations played different seeds; give both the same episodes and seed")
    gained = int((~before.success & after.success).sum())
    lost = int((before.success & ~after.success).sum())
    picks = _resample(len(before.seed), seed)
    change = _throughputs(after, picks) - _throughputs(before, picks)
    low, high = np.quantile(change, [0.025, 0.975])
    return {
        "gained": gained,
        "lost": lost,
        "p_success": mcnemar(gained, lost),
        "throughput_change_low": float(low),
        "throughput_change_high": float(high),
    }


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided exact p: the chance of such a split when each change is as likely either way."""
    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def _resample(n: int, seed: int) -> np.ndarray:
    """int (RESAMPLES, n) episodes drawn with replacement."""
    return np.random.default_rng(seed).integers(n, size=(RESAMPLES, n))


def _throughputs(outcomes: Outcomes, picks: np.ndarray) -> np.ndarray:
    """(resamples,) successes per hour of the picked episodes (resamples, n)."""
    hours = outcomes.time_s[picks].sum(1) / 3600
    return outcomes.success[picks].sum(1) / np.maximum(hours, 1e-9)
