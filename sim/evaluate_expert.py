"""`python -m sim.evaluate_expert [tasks=[pick_place,stack]] [episodes=300] [seed=300000] [randomize=full]`

How often the scripted expert succeeds at each task, with 95 % intervals: what demonstrations can be had.
"""

import functools
import logging
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from sim.core.console import table as as_table
from sim.core.console import track
from sim.core.options import EACH_ONCE, SEED, Registered, at_least, block, option
from sim.core.program import run_program
from sim.envs.simulation import SimulationConfig
from sim.episode.results import wilson
from sim.expert.imperfections import QualityConfig
from sim.expert.worker import ExpertWorker
from sim.parallel.workers import WorkerConfig, map_seeds
from sim.randomize.ranges import RandomizeConfig
from sim.randomize.splits import SplitConfig
from sim.robots.robot import RobotConfig
from sim.tasks.base import TASKS

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class EvaluateExpertConfig(WorkerConfig):
    """Options of the program."""

    tasks: tuple[str, ...] | None = option(None, "null: all", Registered(TASKS), EACH_ONCE)
    episodes: int = option(300, "of each task", at_least(1))
    seed: int = option(300_000, "of the first episode", SEED)
    randomize: RandomizeConfig = block(RandomizeConfig, "how episodes differ")
    split: SplitConfig = block(SplitConfig, "what is held out, and which episodes are played")
    quality: QualityConfig = block(QualityConfig, "how well the expert plays")
    robot: RobotConfig = block(RobotConfig, "the arm")


def main(config: EvaluateExpertConfig) -> None:
    """Play every task and print the table."""
    rows, table = [], Table("task", f"of {config.episodes}", "95 % interval", "mean time", "failed seeds")
    seeds = range(config.seed, config.seed + config.episodes)
    tasks = config.tasks or TASKS.names()
    worlds = [SimulationConfig(task, config.randomize, split=config.split, robot=config.robot) for task in tasks]
    for task, world in zip(tasks, worlds, strict=True):
        played = map_seeds(functools.partial(ExpertWorker, world, config.quality), seeds, config)
        results = list(track(played, task, total=len(seeds)))
        won = [result for result in results if result.success]
        low, high = wilson(len(won), len(results))
        mean_s = f"{np.mean([result.time_s for result in won]):.1f} s" if won else "-"
        lost = [str(result.seed) for result in results if not result.success]
        shown = ", ".join(lost[:5]) + (", ..." if len(lost) > 5 else "")
        rows.append({"task": task, "n": len(results), "success": len(won), "ci_low": low, "ci_high": high})
        table.add_row(task, f"{len(won) / len(results):.1%}", f"{low:.1%} to {high:.1%}", mean_s, shown or "-")
    _log.info("success of the expert", extra=as_table("expert", table, tasks=rows))


if __name__ == "__main__":
    run_program("evaluate_expert", EvaluateExpertConfig, main, __doc__)
