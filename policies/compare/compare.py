"""`python -m policies.compare +exp=representations [tasks=[pick_place]] [seeds=[0]] [evaluation_seed=900000]`

Compares policies on the same demonstrations, with the same training steps and seeds and on the same episodes:

    presets=[NAME]                files of conf/policy, each with its own head
    heads=[NAME,NAME:KEY=VALUE]   each preset with each of these heads instead
    fusion_of=eye                 each preset with the fusion of this one instead: is it the fusion that limits it?

Demonstrations are collected where they are missing. A killed run goes on at the cell it stopped in. table.json keeps
raw counts by training seed, table.md and table.png show them: success with its 95 % interval, placement error, jerk,
the ways that were taken around the object of a task that has two (draws=2: and in how many scenes a second playing took
the other one), processor minutes of training, time of a decision.
"""

import logging
from dataclasses import dataclass, fields, replace
from pathlib import Path

from policies.compare.cells import Cell, parse_cells, play_cell, train_cell
from policies.compare.table import TABLE, write_table
from policies.core.spec import PolicySpec, check_depth_is_drawn
from policies.evaluate import EvaluateConfig
from policies.evaluation.leakage import check_seeds
from policies.train import TrainConfig, check_start
from policies.training.optim import OptimConfig
from sim.collect import CollectConfig, collect
from sim.core.errors import keeps
from sim.core.options import EACH_ONCE, FOLDER, NOT_EMPTY, SEED, Registered, at_least, between, block, option
from sim.core.provenance import plain
from sim.expert.imperfections import QualityConfig
from sim.parallel.worker_config import WorkerConfig
from sim.randomize.ranges import RandomizeConfig
from sim.randomize.splits import SplitConfig
from sim.robots.robot import RobotConfig
from sim.run.stages import Stages
from sim.scene.build import RenderConfig
from sim.tasks.base import TASKS

RUN_OPTIONS = ("out", "presets", "heads", "tasks", "seeds", "draws", "workers", "executor", "ray_address")  # may change

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CompareConfig(WorkerConfig):
    """Options of the program."""

    out: str = option("runs/representations", "the comparison's directory", FOLDER)
    presets: tuple[str, ...] = option(("points",), "policies, of conf/policy", NOT_EMPTY)
    heads: tuple[str, ...] | None = option(None, "NAME or NAME:OPTION=VALUE, of every preset; null: its own", NOT_EMPTY)
    fusion_of: str | None = option(None, "a policy of conf/policy, whose fusion every preset gets; null: its own")
    tasks: tuple[str, ...] = option(("pick_place",), "what the robot does", NOT_EMPTY, Registered(TASKS))
    seeds: tuple[int, ...] = option((0,), "every cell is trained once with each", NOT_EMPTY, SEED, EACH_ONCE)
    demo_episodes: int = option(300, "demonstrations of every task", at_least(1))
    demo_seed: int = option(0, "of the first one", SEED)
    evaluation_episodes: int = option(200, "of every policy", at_least(1))
    draws: int = option(1, "playings of each; the second only tells how often the way differs", between(1, 2))
    evaluation_seed: int = option(900_000, "of the first one", SEED)
    init_fusion: str | None = option("assets/fusion", "where training starts from; null: from scratch")
    optim: OptimConfig = block(OptimConfig, "how each is trained")
    randomize: RandomizeConfig = block(RandomizeConfig, "how episodes differ")
    render: RenderConfig = block(RenderConfig, "how images are drawn")
    split: SplitConfig = block(SplitConfig, "what is held out")
    quality: QualityConfig = block(QualityConfig, "of demonstrations")
    robot: RobotConfig = block(RobotConfig, "the arm")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.split.check_training()  # of demonstrations; before the options of a run are kept in its folder

    def demonstrations(self, task: str, *, images: bool) -> CollectConfig:
        """Return the collection of a task's demonstrations."""
        return CollectConfig(
            task=task, randomize=self.randomize, render=self.render, split=self.split, robot=self.robot,
            episodes=self.demo_episodes, seed=self.demo_seed, out=str(Path(self.out) / "demos" / task),
            quality=self.quality, images=images, **_workers(self),
        )  # fmt: skip

    @property
    def evaluation(self) -> EvaluateConfig:
        """The evaluation of every cell, but for its task and policy."""
        return EvaluateConfig(
            randomize=self.randomize, render=self.render, split=self.split, robot=self.robot, videos=0,
            episodes=self.evaluation_episodes, seed=self.evaluation_seed, **_workers(self),
        )  # fmt: skip

    def training(self, task: str, seed: int) -> TrainConfig:
        """Return the training of every cell, but for its policy and its folder in `out`."""
        data = (self.demonstrations(task, images=False).out,)
        return TrainConfig(data=data, out=self.out, init_fusion=self.init_fusion, optim=replace(self.optim, seed=seed))


def _workers(config: WorkerConfig) -> dict:
    return {field.name: getattr(config, field.name) for field in fields(WorkerConfig)}


def needs_images(cell: Cell, config: CompareConfig) -> bool:
    """Return whether a cell's policy looks at images; where none does, none is rendered or recorded.

    UserError where it could not start from init_fusion.
    """
    policy = cell.policy.build(PolicySpec.of(config.robot.load(), (config.render.height, config.render.width)))
    check_start(policy, config.init_fusion)
    check_depth_is_drawn(policy.needs, drawn=config.render.depth)
    return policy.needs.cameras


def compare(config: CompareConfig) -> Path:
    """Train and play every cell, write the table after each; return its JSON file."""
    root, cells = Path(config.out), parse_cells(config.presets, config.heads, config.tasks, config.fusion_of)
    played = range(config.evaluation_seed, config.evaluation_seed + config.evaluation_episodes)
    planned = [(config.demo_seed, config.demo_seed + config.demo_episodes - 1)]  # more where the expert fails
    check_seeds(played, planned, free=EvaluateConfig.seed, option="evaluation_seed")
    images = any([needs_images(cell, config) for cell in cells])  # of all: each is checked before anything is written
    settings = {field.name: plain(getattr(config, field.name)) for field in fields(config)}
    Stages(root, settings, may_differ=RUN_OPTIONS)  # UserError when it was begun with others
    for task in config.tasks:
        collect(config.demonstrations(task, images=images))
    for seed in config.seeds:
        for cell in cells:
            _log.info("%s, %s, training seed %d", cell.name, cell.task, seed)
            train_cell(cell, cell.folder(root, seed), config.training(cell.task, seed))
            for draw in range(config.draws):
                play_cell(cell, cell.folder(root, seed), replace(config.evaluation, draw=draw))
            write_table(root, cells, config.seeds)
    return root / TABLE


def main(config: CompareConfig) -> None:
    """Compare; what is finished stays when it is interrupted."""
    with keeps(lambda: f"cells that are finished in {config.out} are kept; run again to go on"):
        _log.info("%s", compare(config))
