"""`python -m policies.robustness checkpoints=[runs/policy,runs/policy_full] [episodes=200] [out=runs/robustness]`

How much of a policy's success is left outside the simulation it was trained in: each checkpoint plays
the same seeds as usual, rendered by Filament, with dynamics beyond those of training
(dynamics=shifted), and with both, as a stand-in for the real arm. Without Vulkan the cells of Filament stay empty,
and those of a policy that looks at depth, which Filament does not draw.
A killed run goes on at the cell it stopped in.
"""

import functools
import itertools
import logging
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from policies.evaluate import EvaluateConfig, evaluate, needed
from policies.evaluation.earlier import finished
from policies.evaluation.leakage import check_seeds
from policies.models import checkpoint
from policies.models.checkpoint import CheckpointMetadata
from policies.runtime.who_decides import acting_weights
from sim.core.config import group_values
from sim.core.console import table as as_table
from sim.core.errors import NOTHING_NEW, UserError, keeps
from sim.core.options import (
    EACH_PLACE_ONCE,
    NOT_EMPTY,
    RESULTS_FOLDER,
    SEED,
    Options,
    Registered,
    at_least,
    block,
    one_of,
    option,
)
from sim.core.program import run_program
from sim.core.structured import typed
from sim.core.tracker import KINDS, NoTracker, Prefixed, Tracker, open_tracker
from sim.randomize.ranges import RandomizeConfig
from sim.render.vulkan import check_vulkan
from sim.robots.robot import RobotConfig
from sim.scene.build import OPENGL, RenderConfig
from sim.tasks.base import TASKS

_log = logging.getLogger(__name__)

RENDERERS, DYNAMICS = (OPENGL, "filament"), ("trained", "shifted")
RATES = ("success_rate", "ci_low", "ci_high")  # of an evaluation
CONDITIONS = {
    f"{renderer}, {dynamics}": (renderer, dynamics) for dynamics, renderer in itertools.product(DYNAMICS, RENDERERS)
}


@dataclass(frozen=True)
class RobustnessConfig(Options):
    """Options of the program."""

    checkpoints: tuple[str, ...] = option(
        ("runs/policy",), "policies, a line of the table each", NOT_EMPTY, EACH_PLACE_ONCE
    )
    task: str = option("pick_place", "what the robot does", Registered(TASKS))
    episodes: int = option(200, "of every cell", at_least(1))
    seed: int = option(900_000, "of the first episode", SEED)
    out: str = option("runs/robustness", "results, a folder of every cell", RESULTS_FOLDER)
    workers: int = option(2, "processes that play", at_least(1))
    tracker: str = option("none", "where rates go besides `out`", one_of(*KINDS))
    randomize: RandomizeConfig = block(RandomizeConfig, "how episodes differ")

    @property
    def folders(self) -> dict[str, str]:
        """Return checkpoint -> folder of its results: as much of the end of its path as sets it apart."""
        parts, depth = [Path(one).resolve().parts for one in self.checkpoints], 1
        while len({one[-depth:] for one in parts}) < len(parts):
            depth += 1
        return {name: "-".join(one[-depth:]) for name, one in zip(self.checkpoints, parts, strict=True)}


@dataclass(frozen=True)
class Subject:
    """What a checkpoint's policy was made for."""

    robot: RobotConfig
    depth: bool
    metadata: CheckpointMetadata


@functools.cache
def subject(root: str) -> Subject:
    """Return what a policy needs. UserError for an unusable checkpoint."""
    policy, metadata = checkpoint.load(root)
    return Subject(RobotConfig(policy.spec.robot, round(policy.spec.control_hz)), policy.needs.depth, metadata)


def condition(config: RobustnessConfig, root: str, renderer: str, dynamics: str) -> EvaluateConfig:
    """Return the evaluation of one cell of the table."""
    played, depth = subject(root), subject(root).depth and renderer == OPENGL
    moved = {**vars(config.randomize), **group_values("dynamics", dynamics)}
    return EvaluateConfig(
        checkpoint=root, task=config.task, episodes=config.episodes, seed=config.seed, workers=config.workers,
        out=str(Path(config.out) / config.folders[root] / f"{renderer}_{dynamics}"), videos=0, robot=played.robot,
        randomize=typed(RandomizeConfig, moved, "randomize."), render=RenderConfig(renderer=renderer, depth=depth),
    )  # fmt: skip


def measure(config: RobustnessConfig, tracker: Tracker | None = None) -> None:
    """Measure every cell that can be and print the table, a line each checkpoint."""
    seeds = range(config.seed, config.seed + config.episodes)
    for one in config.checkpoints:  # a wrong one is an error before the first cell
        metadata = subject(one).metadata
        for task in needed(config.task, metadata.tasks):
            metadata.check_task(task, one)
        check_seeds(seeds, metadata.provenance.get("seeds", []), free=EvaluateConfig.seed)
        for renderer, dynamics in CONDITIONS.values():
            _finished(condition(config, one, renderer, dynamics))
    missing = _missing_renderers()
    if deep := [one for one in config.checkpoints if subject(one).depth]:
        _log.info("dashes under filament, which draws no depth: %s", ", ".join(deep))
    for reason in missing.values():
        _log.info("skipped, a dash in the table: %s", reason)
    rates: list[dict] = []
    table = Table("checkpoint", *CONDITIONS, title=f"success of {config.episodes}, 95 % interval")
    kept = "{} evaluations are kept in {}; run again to go on"
    with keeps(lambda: kept.format(len(rates), config.out) if rates else NOTHING_NEW):
        for one, name in itertools.product(config.checkpoints, CONDITIONS):
            renderer, dynamics = CONDITIONS[name]
            if renderer not in missing and not (renderer != OPENGL and subject(one).depth):
                place = Prefixed(tracker or NoTracker(), f"{config.folders[one]}/{renderer}_{dynamics}")
                cell = condition(config, one, renderer, dynamics)
                found = _finished(cell) or evaluate(cell, place)
                rates.append({"checkpoint": one, "condition": name, **{key: found[key] for key in RATES}})
    for one in config.checkpoints:
        cells = {rate["condition"]: _cell(rate) for rate in rates if rate["checkpoint"] == one}
        table.add_row(one, *(cells.get(name, "-") for name in CONDITIONS))
    _log.info("success under other conditions", extra=as_table("robustness", table, rates=rates))


def _finished(cell: EvaluateConfig) -> dict | None:
    return finished(cell.directory, cell, acting_weights(cell.checkpoint, None))


def _missing_renderers() -> dict[str, str]:
    """Return renderers that this machine lacks, and why."""
    try:
        check_vulkan()
    except UserError as error:
        return {"filament": str(error)}
    return {}


def _cell(found: dict) -> str:
    return f"{found['success_rate']:.1%} ({found['ci_low']:.0%} to {found['ci_high']:.0%})"


def main(config: RobustnessConfig) -> None:
    """Measure, tracked."""
    with open_tracker(config.tracker, config.out, config) as tracker:
        measure(config, tracker)


if __name__ == "__main__":
    run_program("robustness", RobustnessConfig, main, __doc__)
