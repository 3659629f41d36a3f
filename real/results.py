"""results.json of a rollout: the success rate with its interval, rewritten after every episode."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
from statsmodels.stats.proportion import proportion_confint

from sim.errors import UserError
from sim.loop import EpisodeResult

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


class Results:
    """The outcomes of one output directory. `facts`: what the run was; it must agree on resuming."""

    def __init__(self, out: Path, facts: dict):
        self._path, self._facts = out / FILE, facts
        self.episodes: list[dict] = []
        if self._path.exists():
            self._resume()

    def _resume(self) -> None:
        try:
            before = json.loads(self._path.read_text())
            self.episodes = before["episodes"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{self._path} is not the results of a rollout; name a new out=DIR") from error
        for name, value in self._facts.items():
            if before.get(name) != value:
                raise UserError(
                    f"{self._path} was made with {name}={before.get(name)}, not {value}; name a new out=DIR"
                )

    def add(self, result: EpisodeResult, fault: str) -> None:
        """Note one episode and rewrite the file in one step."""
        row = {name: value for name, value in asdict(result).items() if name != "guard"}
        self.episodes.append({**row, "guard": asdict(result.guard), "fault": fault})
        self.write()

    def write(self) -> dict:
        """The whole content, written."""
        content = {**summary(self.episodes), **self._facts, "episodes": self.episodes}
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text(json.dumps(content, indent=1))
        os.replace(temporary, self._path)
        return content
