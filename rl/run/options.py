"""Options of `python -m rl.recap` and the seeds they stand for."""

from dataclasses import dataclass, field
from pathlib import Path

from policies.models.small_vla import VlaConfig
from policies.train import OptimConfig
from rl.advantage.labels import LabelConfig
from rl.data.takeover import TriggerConfig
from rl.value.value import ValueConfig
from sim.collect import CollectConfig
from sim.core.contract import POLICY_PERIOD_S
from sim.core.errors import UserError, nearest
from sim.envs.simulation import TASKS, SimulationConfig
from sim.parallel.workers import WorkerConfig
from sim.randomize.ranges import RandomizeConfig
from sim.randomize.splits import SplitConfig
from sim.scene.build import RenderConfig

RUN_KNOBS = ("out", "workers", "executor", "ray_address", "rounds")  # may differ when a run is gone on with


@dataclass(frozen=True)
class RecapConfig:
    """Options of the program; conf/recap.yaml says what each means."""

    task: str = "pick_place"
    out: str = "runs/recap_pick_place"
    demos: str | None = None
    pretrained: str | None = None
    demo_episodes: int = 500
    demo_seed: int = 0
    rounds: int = 1
    rollouts: int = 300
    rollout_seed: int = 500_000
    corrections: int = 60
    evaluation_episodes: int = 300
    evaluation_seed: int = 900_000
    films: int = 3
    demo_share: float = 0.4
    guidance: float = 2.0
    workers: int = 2
    executor: str = "local"
    ray_address: str | None = None
    seed: int = 0
    backbone: str | None = "assets/fusion"
    randomize: RandomizeConfig = field(default_factory=RandomizeConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    render: RenderConfig = field(default_factory=RenderConfig)
    policy: VlaConfig = field(default_factory=VlaConfig)
    pretrain: OptimConfig = field(default_factory=OptimConfig)
    retrain: OptimConfig = field(default_factory=lambda: OptimConfig(steps=3000, learning_rate=4e-4))
    value: ValueConfig = field(default_factory=ValueConfig)
    label: LabelConfig = field(default_factory=LabelConfig)
    trigger: TriggerConfig = field(default_factory=TriggerConfig)

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise UserError(nearest(self.task, TASKS, "task"))
        for name in ("demo_episodes", "rollouts", "evaluation_episodes"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)}, expected at least 1")
        if self.rounds < 0 or self.corrections < 0 or not 0.0 <= self.demo_share < 1.0:
            raise UserError("rounds and corrections must be at least 0, demo_share in 0..1")
        _ = self.crew  # its errors are errors here
        self.split.check_training()
        check_apart(self.ranges)

    @property
    def crew(self) -> WorkerConfig:
        return WorkerConfig(self.workers, self.executor, self.ray_address)

    @property
    def world(self) -> SimulationConfig:
        return SimulationConfig(self.task, self.randomize, self.render, self.split)

    @property
    def root(self) -> Path:
        return Path(self.out)

    @property
    def demos_root(self) -> Path:
        return Path(self.demos or self.root / "demos")

    @property
    def pretrained_root(self) -> Path:
        return Path(self.pretrained or self.root / "pretrained")

    @property
    def time_limits(self) -> dict[str, int]:
        """Task -> T_max in policy steps."""
        return {name: round(task.TIME_LIMIT_S / POLICY_PERIOD_S) for name, task in TASKS.items()}

    @property
    def collect(self) -> CollectConfig:
        return CollectConfig(
            task=self.task, randomize=self.randomize, render=self.render, split=self.split, episodes=self.demo_episodes,
            seed=self.demo_seed, out=str(self.demos_root), workers=self.workers,
            executor=self.executor, ray_address=self.ray_address,
        )  # fmt: skip

    @property
    def ranges(self) -> dict[str, range]:
        """Who plays which seeds. A failed demonstration costs one seed more: room is left for as many again."""
        rounds = max(self.rounds, 1)
        return {
            "demonstrations": range(self.demo_seed, self.demo_seed + 2 * self.demo_episodes),
            "rollouts": range(self.rollout_seed, self.rollout_seed + rounds * self.rollouts),
            "evaluation": range(self.evaluation_seed, self.evaluation_seed + self.evaluation_episodes),
        }

    def rollout_seeds(self, k: int) -> range:
        """Of round k = 1, 2, ..."""
        first = self.rollout_seed + (k - 1) * self.rollouts
        return range(first, first + self.rollouts)


def check_apart(ranges: dict[str, range]) -> None:
    """UserError when two of these share a seed: what is learned from must not be what is tested on."""
    names = list(ranges)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            a, b = ranges[one], ranges[other]
            if max(a.start, b.start) < min(a.stop, b.stop):
                raise UserError(
                    f"{one} and {other} would share seeds ({a.start}..{a.stop - 1}, {b.start}..{b.stop - 1})"
                )
