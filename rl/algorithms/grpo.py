"""GRPO (Shao et al. 2024) on action chunks: a group is GROUP episodes of one seed, each acted with other noise.

    A_i = (R_i - mean_group R) / std_group R, the same at every chunk of episode i
    pi <- argmax E min(r A, clip(r, 1 - CLIP, 1 + CLIP) A) - BETA D(pi, pretrained)

R is the episode's return as RECAP's, -steps / T_max and -1 for a failure, so that a group that always succeeds teaches
speed. No critic.

Departures: a flow has no likelihood; r is FPO's stand-in for its ratio (`rl.learning.policy_gradient`), and D the
paper's estimate of the divergence with the same stand-in. Groups whose episodes ended alike are left out.
"""

import numpy as np

from rl.algorithms.base import ALGORITHMS
from rl.algorithms.on_policy import OnPolicy
from rl.learning.policy_gradient import follow_gradient
from rl.learning.round import Round

GROUP = 8
BETA = 0.04
LEAST_STD = 1e-4  # of what is compared in a group


@ALGORITHMS.register("grpo")
class Grpo(OnPolicy):
    """Better and worse than the others of its group."""

    most_draws = GROUP

    def update(self, data: Round, played: list[Round]) -> None:
        newest = played[-1]
        advantage = group_advantage(newest, self.draws(data))
        follow_gradient(newest, advantage, newest.policy, anchor=data.pretrained, beta=BETA)


def group_advantage(played: Round, draws: int) -> np.ndarray:
    """Return A at every frame of the episodes, (N,)."""
    return played.pool.per_frame(group_relative(episode_returns(played), draws))


def episode_returns(played: Round) -> np.ndarray:
    """(E,) in [-1, 0]."""
    return played.targets.values[played.pool.first[:-1]]


def group_relative(values: np.ndarray, draws: int) -> np.ndarray:
    """(E,) -> (E,): from the mean of the group in its standard deviations; 0 where a group's are alike.

    Episode i of every one of the `draws` datasets is of the same seed.
    """
    groups = values.reshape(draws, -1)
    std = groups.std(0)
    return ((groups - groups.mean(0)) / np.maximum(std, LEAST_STD) * (std > LEAST_STD)).ravel()
