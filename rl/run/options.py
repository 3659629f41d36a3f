"""Options of `python -m rl.recap`, and which seeds they play."""

from dataclasses import dataclass
from pathlib import Path

from policies.core.interface import Policy, PolicyConfig
from policies.core.spec import PolicySpec, check_depth_is_drawn
from policies.models import checkpoint
from policies.models.vla import VlaConfig
from policies.training.optim import OptimConfig
from rl.algorithms.base import ALGORITHMS
from rl.learning.config import LearningConfig
from sim.collect import CollectConfig
from sim.core.errors import UserError
from sim.core.options import (
    DATASET_FOLDER,
    EACH_PLACE_ONCE,
    FOLDER,
    SEED,
    Each,
    Registered,
    at_least,
    block,
    one_of,
    option,
)
from sim.core.tracker import KINDS
from sim.envs.simulation import SimulationConfig
from sim.expert.imperfections import QualityConfig
from sim.tasks.base import TASKS

ROLLOUTS = Each(
    lambda value: bool(value) and (isinstance(value, str) or value >= 1), "at least 1, or directories of datasets"
)
RUN_KNOBS = ("out", "workers", "executor", "ray_address", "rounds", "tracker")  # may differ when a run is gone on with


@dataclass(frozen=True, kw_only=True)
class RecapConfig(SimulationConfig, LearningConfig):
    """Options of the program."""

    algorithm: str = option("recap", "how frames are labelled and the policy improves", Registered(ALGORITHMS))
    out: str = option("runs/recap_pick_place", "the run's directory", FOLDER)
    demos: str | None = option(None, "demonstrations, collected there when missing; null: OUT/demos", DATASET_FOLDER)
    pretrained: str | None = option(
        None, "the imitation checkpoint, trained there when missing; null: OUT/pretrained", FOLDER
    )
    demo_episodes: int = option(500, "demonstrations that are collected", at_least(1))
    demo_seed: int = option(0, "of the first one", SEED)
    rounds: int = option(1, "of rollouts and learning; 0: imitation alone", at_least(0))
    rollouts: int | tuple[str, ...] = option(
        300,
        "autonomous episodes a round; or [DIR,...], recorded by any program, for the only round",
        ROLLOUTS,
        EACH_PLACE_ONCE,
    )
    rollout_seed: int = option(500_000, "of the first one", SEED)
    interventions: int = option(60, "at most so many episodes a round in which the expert intervenes", at_least(0))
    evaluation_episodes: int = option(300, "of every policy", at_least(1))
    evaluation_seed: int = option(900_000, "of the first one", SEED)
    check_episodes: int = option(
        100, "of these, played with no and with the negative indicator too, every round; 0: none", at_least(0)
    )
    videos: int = option(3, "of every evaluation", at_least(0))
    tracker: str = option("none", "where losses, rates and videos go besides `out`", one_of(*KINDS))
    init_fusion: str | None = option("assets/fusion", "where imitation starts from; null: from scratch")
    quality: QualityConfig = block(QualityConfig, "of demonstrations that are collected")
    policy: PolicyConfig = block(VlaConfig, "the network")
    pretrain: OptimConfig = block(OptimConfig, "of the imitation policy")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.check_episodes > self.evaluation_episodes:
            raise UserError(
                f"check_episodes={self.check_episodes}, expected 0 to evaluation_episodes={self.evaluation_episodes}"
            )
        if self.rollouts == () or (self.recorded and self.rounds > 1):
            raise UserError(
                f"rollouts=[{','.join(self.recorded)}] and rounds={self.rounds}, expected directories and one round; "
                "for a second one give the directories of both, the same pretrained=DIR and another out=DIR"
            )
        self.split.check_training()
        check_apart(self.ranges)

    @property
    def plays_without_indicator(self) -> bool:
        return super().plays_without_indicator or self.check_episodes > 0

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
    def is_trained(self) -> bool:
        """Whether the imitation checkpoint is there."""
        return (self.pretrained_root / checkpoint.WEIGHTS).is_file()

    @property
    def recorded(self) -> tuple[str, ...]:
        """The datasets that were recorded before; empty where the run plays its own rollouts."""
        return self.rollouts if isinstance(self.rollouts, tuple) else ()

    @property
    def episodes_a_round(self) -> int:
        """How many rollouts the run plays itself."""
        return self.rollouts if isinstance(self.rollouts, int) else 0

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where the run writes."""
        return self.root, self.demos_root, self.pretrained_root

    @property
    def time_limits(self) -> dict[str, int]:
        """Task -> T_max in policy steps, of simulated episodes."""
        period_s = self.robot.load().control_period_s
        return {name: round(TASKS.get(name).time_limit_s / period_s) for name in TASKS.names()}

    def build_policy(self) -> Policy:
        """Return the policy that imitation trains, with random weights."""
        return self.policy.build(PolicySpec.of(self.robot.load(), (self.render.height, self.render.width)))

    @property
    def needs_images(self) -> bool:
        """Whether the policy looks at images; where it does not, none is rendered or recorded."""
        needs = self.build_policy().needs
        check_depth_is_drawn(needs, drawn=self.render.depth)
        return needs.cameras

    @property
    def collect(self) -> CollectConfig:
        return CollectConfig(
            task=self.task, randomize=self.randomize, render=self.render, split=self.split, robot=self.robot,
            episodes=self.demo_episodes,
            seed=self.demo_seed, out=str(self.demos_root), workers=self.workers,
            executor=self.executor, ray_address=self.ray_address, images=self.needs_images, quality=self.quality,
        )  # fmt: skip

    @property
    def ranges(self) -> dict[str, range]:
        """The seeds of each purpose. A failed demonstration costs one seed more: room is left for as many again."""
        rounds = max(self.rounds, 1)
        return {
            "demonstrations": range(self.demo_seed, self.demo_seed + 2 * self.demo_episodes),
            "rollouts": range(self.rollout_seed, self.rollout_seed + rounds * self.episodes_a_round),
            "online episodes": range(self.online.seeds(1).start, self.online.seeds(rounds).stop),
            "evaluation": range(self.evaluation_seed, self.evaluation_seed + self.evaluation_episodes),
        }

    def rollout_seeds(self, k: int) -> range:
        """Return the seeds of round k = 1, 2, ..."""
        first = self.rollout_seed + (k - 1) * self.episodes_a_round
        return range(first, first + self.episodes_a_round)


def check_apart(ranges: dict[str, range]) -> None:
    """Raise UserError when two of these share a seed: nothing that is learned from may be evaluated on."""
    names = list(ranges)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            a, b = ranges[one], ranges[other]
            if max(a.start, b.start) < min(a.stop, b.stop):
                raise UserError(
                    f"{one} and {other} would share seeds ({a.start}..{a.stop - 1}, {b.start}..{b.stop - 1})"
                )
