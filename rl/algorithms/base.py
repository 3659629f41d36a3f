"""An offline RL algorithm: how to label recorded frames, and how to improve the policy on them.

    @ALGORITHMS.register("name")
    class Name(Algorithm):
        def label(self, data: Round) -> Labels: ...

Collection, value, evaluation, resume and report are the same for all (rl.run): a new algorithm is one
file, here or in a plug-in, and is played by `python -m rl.recap algorithm=name`.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

from policies.core.interface import Policy
from policies.models.vla import Vla
from rl.advantage.labels import Labels
from rl.learning.config import LearningConfig
from rl.learning.retrain import retrain
from rl.learning.round import Round
from sim.core.errors import UserError
from sim.core.registry import Registry


class Algorithm(ABC):
    """One round's learning."""

    conditioned: ClassVar[bool] = False  # whether the policy learns good from bad, so that guidance has a meaning
    plays: ClassVar[bool] = False  # whether it plays episodes while it learns, which takes a simulator

    def check(self, config: LearningConfig, policy: Policy) -> None:
        """UserError, before a run begins, for options or a policy that it cannot learn with."""
        if self.conditioned and isinstance(policy, Vla):
            check_learns_indicator(policy.config.indicator_dropout, config)

    @abstractmethod
    def label(self, data: Round) -> Labels:
        """Decide for every frame of `data.pool` which indicator it carries and how often it is drawn."""

    def improve(self, data: Round) -> None:
        """Train the checkpoint `data.policy` on the labels: from the pretrained one, supervised."""
        retrain(data, self.guidance(data.config))

    def guidance(self, config: LearningConfig) -> float:
        """Return the beta that the improved policy is played with."""
        return config.guidance if self.conditioned else 1.0


def check_learns_indicator(dropout: float, config: LearningConfig) -> None:
    """UserError where the policy would be played with an indicator, or without one, as it was never trained."""
    if dropout == 1.0:
        raise UserError("policy.indicator_dropout=1: no indicator is ever learned; expected below 1")
    if dropout == 0.0 and config.plays_without_indicator:
        raise UserError(
            f"policy.indicator_dropout=0: guidance={config.guidance:g} or check_episodes= plays the policy without an "
            "indicator, which it never learns; expected above 0, or guidance=1 check_episodes=0"
        )


ALGORITHMS = Registry[type[Algorithm]]("algorithm", package="rl.algorithms")
