"""results.json of a rollout: outcomes with their interval, derived from the recorded dataset.

The dataset is the one truth, so that a run that was killed goes on with the right counts.
"""

import json
import os
from pathlib import Path

import numpy as np
from statsmodels.stats.proportion import proportion_confint

from sim.contract import POLICY_PERIOD_S
from sim.dataset import Dataset
from sim.errors import UserError

FILE = "results.json"


def summary(episodes: list[dict]) -> dict:
    """success_rate with its 95 % Wilson interval, throughput and the mean time of a success."""
    n, successes = len(episodes), sum(episode["success"] for episode in episodes)
    low, high = map(np.asarray, proportion_confint(successes, n, method="wilson") if n else (0.0, 1.0))
    hours = sum(episode["time_s"] for episode in episodes) / 3600
    times = [episode["time_s"] for episode in episodes if episode["success"]]
    return {
        "success_rate": successes / n if n else None,
        "ci_low": float(low),
        "ci_high": float(high),
        "n": n,
        "throughput_per_hour": successes / hours if hours else None,
        "mean_time_s": sum(times) / len(times) if times else None,
    }


def recorded(root: Path) -> list[dict]:
    """One row per committed episode of the dataset in `root`."""
    dataset = Dataset(root)
    return [_row(dataset, episode) for episode in range(dataset.num_episodes)]


def _row(dataset: Dataset, episode: int) -> dict:
    facts, steps = dataset.episode_facts(episode), dataset.length(episode)
    return {
        "seed": int(facts["seed"]),
        "success": bool(facts["success"]),
        "steps": steps,
        "time_s": steps * POLICY_PERIOD_S,
        "guard": {"latched": facts["guard/latched"], "counts": json.loads(facts["guard/counts"])},
        "fault": facts["robot/fault"],
    }


def check_same_run(out: Path, facts: dict) -> None:
    """UserError when `out` holds results of another run than `facts` describe."""
    path = out / FILE
    if not path.exists():
        return
    try:
        before = json.loads(path.read_text())
        differing = [name for name, value in facts.items() if before[name] != value]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not the results of a rollout; name a new out=DIR") from error
    if differing:
        name = differing[0]
        raise UserError(f"{path} was made with {name}={before[name]}, not {facts[name]}; name a new out=DIR")


def write(out: Path, facts: dict) -> dict:
    """results.json of the dataset in `out`, replaced in one step; returns its content."""
    episodes = recorded(out)
    content = {**summary(episodes), **facts, "episodes": episodes}
    temporary = out / (FILE + ".tmp")
    temporary.write_text(json.dumps(content, indent=1))
    os.replace(temporary, out / FILE)
    return content
