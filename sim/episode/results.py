"""results.json: how a set of episodes ended, with intervals."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from sim.episode.loop import EpisodeResult

FILE = "results.json"


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


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a rate; everything is possible when nothing was tried."""
    if not n:
        return 0.0, 1.0
    from statsmodels.stats.proportion import proportion_confint  # a second's import: only who asks waits

    bounds: Any = proportion_confint(successes, n, method="wilson")
    return float(bounds[0]), float(bounds[1])


def throughput_interval(episodes: list[dict], draws: int = 2000) -> tuple[float | None, float | None]:
    """Return the 95 % percentile bootstrap interval, over episodes, of successes per hour."""
    if not episodes:
        return None, None
    success = np.array([episode["success"] for episode in episodes], float)
    hours = np.array([episode["time_s"] for episode in episodes]) / 3600
    rows = np.random.default_rng(0).integers(len(episodes), size=(draws, len(episodes)))
    low, high = np.percentile(success[rows].sum(1) / hours[rows].sum(1), [2.5, 97.5])
    return float(low), float(high)


def row(result: EpisodeResult) -> dict:
    """Return one episode as results.json holds it."""
    return {
        "seed": result.seed,
        "success": result.success,
        "steps": result.steps,
        "time_s": round(result.time_s, 3),
        "guard": asdict(result.guard),
    }


def write(out: Path, content: dict) -> None:
    """Write `out`/results.json in one step."""
    out.mkdir(parents=True, exist_ok=True)
    temporary = out / (FILE + ".tmp")
    try:
        temporary.write_text(json.dumps(content, indent=1) + "\n")
        os.replace(temporary, out / FILE)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
