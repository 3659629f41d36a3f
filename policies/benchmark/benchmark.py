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
from rich.table import Table

from policies.benchmark.encoders import encoder_table
from sim.core.checkout import Checkout
from sim.core.console import table as as_table
from sim.core.console import track
from sim.core.options import Options, at_least, option

LOG_EVERY = 50  # steps between two rows of train.jsonl
NAMES = {"training_step_ms": "training step, ms", "decision_ms": "decision, ms"}

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

    def measure(self, repeat: int) -> dict[str, list[float]]:
        """Train and play once more; return training steps and decisions, ms each."""
        policy, config = self._folder / f"policy_{repeat}", self._config
        optim = (f"optim.steps={config.steps}", f"optim.threads={config.threads}")
        self._checkout.run("policies.train", f"data={self._folder / 'demos'}", f"out={policy}", *optim)
        self._checkout.run("policies.evaluate", f"checkpoint={policy}", "episodes=2", "workers=1")
        played = json.loads((policy / "eval" / "results.json").read_text())
        return {
            "training_step_ms": step_times_ms(policy / "train.jsonl"),
            "decision_ms": [played["decision_ms_median"]],
        }


def step_times_ms(log: Path) -> list[float]:
    """Return the time of a step between rows of a training log; the first row holds what is done once."""
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    seconds = np.diff([row["s"] for row in rows])
    return [float(ms) for ms in 1e3 * seconds / np.diff([row["step"] for row in rows])]


def main(config: PolicyBenchmarkConfig) -> None:
    """Measure and print the tables."""
    checkouts = {"this": Checkout.own()}
    if config.baseline:
        checkouts["baseline"] = Checkout(Path(config.baseline))
    medians = measure(checkouts, config)
    _log.info("training and acting", extra=as_table("speed", speed_table(medians), **medians))
    if not config.baseline:
        table, rows = encoder_table()
        _log.info("frozen encoders", extra=as_table("encoders", table, encoders=rows))


def measure(checkouts: Mapping[str, Checkout], config: PolicyBenchmarkConfig) -> dict[str, dict[str, float]]:
    """Return the medians of every checkout, which take turns: what else the machine does meets all."""
    with tempfile.TemporaryDirectory() as folder:
        courses = {name: Course(one, Path(folder) / name, config) for name, one in checkouts.items()}
        turns = [(name, repeat) for repeat in range(config.repeats) for name in courses]
        found = [(name, courses[name].measure(repeat)) for name, repeat in track(turns, "measuring")]
    return {
        name: {
            figure: float(np.median(np.concatenate([one[figure] for of, one in found if of == name])))
            for figure in NAMES
        }
        for name in checkouts
    }


def speed_table(medians: dict[str, dict[str, float]]) -> Table:
    """Return a row for each figure, with its ratio to the baseline's where there is one."""
    compared = "baseline" in medians
    table = Table("median", "this", *(["baseline", "ratio"] if compared else []))
    for figure, title in NAMES.items():
        values = [one[figure] for one in medians.values()]
        ratio = [f"{values[0] / values[1]:.3f}"] if compared else []
        table.add_row(title, *(f"{value:.2f}" for value in values), *ratio)
    return table
