"""Options of learning from a round's data, whatever the algorithm."""

from dataclasses import dataclass, field

from policies.training.optim import OptimConfig
from rl.advantage.targets import LabelConfig
from rl.value.value_head import ValueConfig


@dataclass(frozen=True, kw_only=True)
class LearningConfig:
    """What an algorithm may read; a program's options include these."""

    label: LabelConfig = field(default_factory=LabelConfig)
    value: ValueConfig = field(default_factory=ValueConfig)
    retrain: OptimConfig = field(default_factory=lambda: OptimConfig(steps=3000, learning_rate=4e-4))
    demo_share: float = 0.4  # of every batch at least; rounds are reported to crowd demonstrations out
    guidance: float = 2.0  # beta at run time of a policy that knows the indicator
    workers: int = 2  # processes that play episodes, threads that train
    seed: int = 0
