"""`python -m policies.benchmark [steps=150] [repeats=3] [baseline=CHECKOUT]`

Times a gradient step of the default policy and one decision, by the programs themselves: demonstrations are
collected, a policy is trained on them and plays. With `baseline=`, another checkout of this repository does the
same by turns in the same run, and the ratio to it is printed; without, the frozen encoders are timed too.
"""

import json
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from policies.benchmark.encoders import encoder_table
from sim.core.checkout import Checkout
from sim.core.comparison import BASELINE, THIS, Figures, by_turns, comparison_table, medians
from sim.core.console import table as as_table
from sim.core.options import Options, at_least, option

LOG_EVERY = 50  # steps between two rows of train.jsonl
TITLES = {"training_step_ms": "training step, ms", "decision_ms": "decision, ms"}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PolicyBenchmarkConfig(Options):
    """Options of the program."""

    steps: int = option(150, "of a training", at_least(3 * LOG_EVERY))
    repeats: int = option(3, "of every measurement", at_least(1))
    episodes: int = option(8, "demonstrations to train on", at_least(1))
    threads: int = option(2, "of training", at_least(1))
    baseline: str | None = option(None, "another checkout of this repository, measured by turns")


class Course:
    """Collects, trains and plays with one checkout, in a folder of its own."""

    def __init__(self, checkout: Checkout, folder: Path, config: PolicyBenchmarkConfig):
        self._checkout, self._folder, self._config = checkout, folder, config
        checkout.run("sim.collect", f"episodes={config.episodes}", "workers=1", f"out={folder / 'demos'}")

    def measure(self, repeat: int) -> Figures:
        """Train and play once more; return the median times of a training step and of a decision, ms."""
        policy, config = self._folder / f"policy_{repeat}", self._config
        optim = (f"optim.steps={config.steps}", f"optim.threads={config.threads}")
        self._checkout.run("policies.train", f"data={self._folder / 'demos'}", f"out={policy}", *optim)
        self._checkout.run("policies.evaluate", f"checkpoint={policy}", "episodes=2", "workers=1")
        played = json.loads((policy / "eval" / "results.json").read_text())
        return {
            "training_step_ms": float(np.median(step_times_ms(policy / "train.jsonl"))),
            "decision_ms": played["decision_ms_median"],
        }


def step_times_ms(log: Path) -> list[float]:
    """Return the time of a step between rows of a training log; the first row holds what is done once."""
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    seconds = np.diff([row["s"] for row in rows])
    return [float(ms) for ms in 1e3 * seconds / np.diff([row["step"] for row in rows])]


def main(config: PolicyBenchmarkConfig) -> None:
    """Measure and print the tables."""
    checkouts = {THIS: Checkout.own()}
    if config.baseline:
        checkouts[BASELINE] = Checkout(Path(config.baseline))
    found = measure(checkouts, config)
    _log.info("training and acting", extra=as_table("speed", comparison_table(found, TITLES), **medians(found)))
    if not config.baseline:
        table, rows = encoder_table()
        _log.info("frozen encoders", extra=as_table("encoders", table, encoders=rows))


def measure(checkouts: Mapping[str, Checkout], config: PolicyBenchmarkConfig) -> dict[str, list[Figures]]:
    """Return the figures of every checkout by repeat."""
    with tempfile.TemporaryDirectory() as folder:
        courses = {name: Course(one, Path(folder) / name, config) for name, one in checkouts.items()}
        return by_turns({name: course.measure for name, course in courses.items()}, config.repeats)
