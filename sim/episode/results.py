"""results.json: how a set of episodes ended, with intervals.

Shapes: S training seeds, n layouts (evaluation seeds).
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from sim.core.files import write_atomic
from sim.episode.loop import EpisodeResult

FILE = "results.json"
RESAMPLES = 2000


def summary(episodes: list[dict]) -> dict:
    """Return success rate and successes per hour, with 95 % intervals, and the mean time of a success."""
    n, successes = len(episodes), sum(episode["success"] for episode in episodes)
    low, high = wilson(successes, n)
    hours = sum(episode["time_s"] for episode in episodes) / 3600
    times = [episode["time_s"] for episode in episodes if episode["success"]]
    throughput_low, throughput_high = throughput_interval(episodes)
    return {
        "success_rate": successes / n if n else None,
        "ci_low": low,
        "ci_high": high,
        "n": n,
        "throughput_per_hour": successes / hours if hours else None,
        "throughput_ci_low": throughput_low,
        "throughput_ci_high": throughput_high,
        "mean_time_s": sum(times) / len(times) if times else None,
    }


def summary_of_seeds(runs: Sequence[list[dict]]) -> dict:
    """Return the summary of all training seeds' episodes; runs: those of each, all of the same layouts.

    Episodes of a layout are not independent. So intervals of several training seeds are of a bootstrap over layouts,
    each with its episodes of all training seeds: they say what other layouts, not what other training seeds would give.
    """
    found = summary([episode for run in runs for episode in run])
    return found if len(runs) < 2 else found | _intervals_over_layouts(*by_layout(runs))


def by_layout(runs: Sequence[list[dict]]) -> tuple[np.ndarray, np.ndarray]:
    """Return success, bool (S, n), and time in s (S, n), by evaluation seed."""
    rows = [sorted(run, key=lambda one: one["seed"]) for run in runs]
    success, time_s = (np.array([[one[name] for one in run] for run in rows]) for name in ("success", "time_s"))
    return success, time_s


def _intervals_over_layouts(success: np.ndarray, time_s: np.ndarray) -> dict:
    """Return 95 % percentile intervals of success (S, n) and of successes an hour of time_s (S, n)."""
    n = success.shape[1]
    rows = np.random.default_rng(0).integers(n, size=(RESAMPLES, n))
    won, hours = success.mean(0)[rows], time_s.mean(0)[rows] / 3600
    low, high = np.percentile(won.mean(1), [2.5, 97.5])
    if success.all() or not success.any():  # layouts do not differ: n of them tell no more than this
        low, high = wilson(n if success.all() else 0, n)
    slow, fast = np.percentile(won.sum(1) / hours.sum(1), [2.5, 97.5])
    slow, fast = _with_other_outcomes(slow, fast, success, time_s.mean(0) / 3600)
    intervals = {"ci_low": low, "ci_high": high, "throughput_ci_low": slow, "throughput_ci_high": fast}
    return {name: float(value) for name, value in intervals.items()}


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a rate; everything is possible when nothing was tried."""
    if not n:
        return 0.0, 1.0
    from statsmodels.stats.proportion import proportion_confint  # a second's import: only who asks waits

    bounds: Any = proportion_confint(successes, n, method="wilson")
    return float(bounds[0]), float(bounds[1])


def throughput_interval(episodes: list[dict], draws: int = RESAMPLES) -> tuple[float | None, float | None]:
    """Return the 95 % percentile bootstrap interval, over episodes, of successes per hour."""
    if not episodes:
        return None, None
    success = np.array([episode["success"] for episode in episodes], float)
    hours = np.array([episode["time_s"] for episode in episodes]) / 3600
    rows = np.random.default_rng(0).integers(len(episodes), size=(draws, len(episodes)))
    low, high = np.percentile(success[rows].sum(1) / hours[rows].sum(1), [2.5, 97.5])
    low, high = _with_other_outcomes(low, high, success, hours)
    return float(low), float(high)


def _with_other_outcomes(low: float, high: float, success: np.ndarray, hours: np.ndarray) -> tuple[float, float]:
    """Return the interval of successes an hour, wider where none or all of success (n,) or (S, n) are; hours: (n,).

    Resampled, such episodes never tell of the outcome that did not come: of failures alone the bootstrap is certain of
    no success in any hour. That outcome may come as often as Wilson's interval of the rate has it, and an episode takes
    hours.sum() / n. So the bound is Wilson's rate times n / hours.sum(), unless the bootstrap's is further out already.
    """
    n, played = len(hours), hours.sum()
    if not success.any():
        high = max(high, wilson(0, n)[1] * n / played)
    if success.all():
        low = min(low, wilson(n, n)[0] * n / played)
    return low, high


def row(result: EpisodeResult) -> dict:
    """Return one episode as results.json holds it."""
    return {
        "seed": result.seed,
        "success": result.success,
        "steps": result.steps,
        "time_s": round(result.time_s, 3),
        "guard": asdict(result.guard),
    }


def video_name(seed: int, *, success: bool) -> str:
    """Return the name of an episode's video beside results.json."""
    return f"episode-{seed}-{'success' if success else 'failure'}.mp4"


def write(out: Path, content: dict) -> None:
    """Write `out`/results.json, whole or not at all. UserError where that is not possible."""
    write_atomic(out / FILE, (json.dumps(content, indent=1) + "\n").encode())
