"""Options of learning from a round's data, whatever the algorithm."""

from dataclasses import dataclass

from policies.training.optim import OptimConfig
from rl.advantage.targets import LabelConfig
from rl.data.interventions import TriggerConfig
from rl.value.value_head import ValueConfig
from sim.core.options import SEED, SHARE, Options, at_least, block, option
from sim.parallel.worker_config import WorkerConfig


@dataclass(frozen=True)
class OnlineConfig(Options):
    """What algorithms that play while they learn may play."""

    episodes: int = option(600, "in a round", at_least(1))
    unlimited: int = option(12_000, "in a round, for ppo, to which simulation costs nothing", at_least(1))
    updates: int = option(6, "of the policy, between which they are played", at_least(1))
    seed: int = option(700_000, "of the first one", SEED)

    def seeds(self, k: int) -> range:
        """Return the seeds of round k = 1, 2, ..."""
        most = max(self.episodes, self.unlimited)
        return range(self.seed + (k - 1) * most, self.seed + k * most)


@dataclass(frozen=True, kw_only=True)
class LearningConfig(WorkerConfig):
    """What an algorithm may read; a program's options include these."""

    label: LabelConfig = block(LabelConfig, "how returns, advantages and the indicator are computed")
    value: ValueConfig = block(ValueConfig, "sizes and training of the value")
    retrain: OptimConfig = block(lambda: OptimConfig(steps=3000, learning_rate=4e-4), "of a round's policy")
    trigger: TriggerConfig = block(TriggerConfig, "when the expert intervenes")
    online: OnlineConfig = block(OnlineConfig, "what algorithms that play while they learn may play")
    demo_share: float = option(0.4, "of every batch at least; rounds are reported to crowd demonstrations out", SHARE)
    guidance: float = option(2.0, "beta at run time of a policy that knows the indicator", at_least(0.0))
    seed: int = option(0, "of the value's folds and weights", SEED)

    @property
    def plays_without_indicator(self) -> bool:
        """Whether a policy that knows the indicator is asked what it would do without one."""
        return self.guidance != 1.0
