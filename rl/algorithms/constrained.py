"""Constrained learning (SafeVLA, Zhang et al. 2025): as successful as possible while the guard intervenes rarely.

    max_pi J_R(pi)  subject to  J_C(pi) <= ALLOWED J_C(pretrained)
    lambda_k = max(0, lambda_{k-1} + RATE (J_C(pi_k) / J_C(pretrained) - ALLOWED)),   lambda_{-1} = 0
    A = (A_R - lambda_k A_C) / (1 + lambda_k)

The cost of an episode is the share of its steps in which the guard changed the requested joints. The gripper does not
count: its opening is only clipped to [0, 1], which endangers nothing and happens in most changed steps.

Departures: A_R and A_C are relative to the group, as GRPO's, in place of two critics; the policy's ratio is FPO's
stand-in. The limit is a share of the pretrained policy's cost, which its first episodes measure; the multiplier is in
units of it.
"""

import numpy as np

from rl.algorithms.base import ALGORITHMS
from rl.algorithms.grpo import GROUP, episode_returns, group_relative
from rl.algorithms.on_policy import OnPolicy
from rl.data.pool import Pool
from rl.learning.policy_gradient import follow_gradient
from rl.learning.round import Round

ALLOWED = 0.2
RATE = 0.5
LEAST_COST = 1e-3  # of the pretrained policy: below it there is nothing to constrain


@ALGORITHMS.register("constrained")
class Constrained(OnPolicy):
    """Better and safer than the others of its group."""

    most_draws = GROUP

    def update(self, data: Round, played: list[Round]) -> None:
        newest = played[-1]
        gain, cost = (
            group_relative(x, self.draws(data)) for x in (episode_returns(newest), guarded_shares(newest.pool))
        )
        advantage = lagrangian(gain, cost, multiplier(mean_costs(played)))
        follow_gradient(newest, newest.pool.per_frame(advantage), newest.policy)

    def notes(self, played: list[Round]) -> dict[str, float]:
        costs = mean_costs(played)
        return {"cost": costs[-1], "multiplier": multiplier(costs)}


def lagrangian(gain: np.ndarray, cost: np.ndarray, weight: float) -> np.ndarray:
    """Return A of advantages in return and in cost, and the multiplier."""
    return (gain - weight * cost) / (1 + weight)


def multiplier(costs: list[float]) -> float:
    """Return lambda after updates whose episodes cost so much on average, the pretrained policy's first."""
    found, unit = 0.0, max(costs[0], LEAST_COST)
    for cost in costs:
        found = max(0.0, found + RATE * (cost / unit - ALLOWED))
    return found


def mean_costs(played: list[Round]) -> list[float]:
    """Return J_C of the policies that played."""
    return [float(guarded_shares(one.pool).mean()) for one in played]


def guarded_shares(pool: Pool) -> np.ndarray:
    """(E,): the share of an episode's steps in which the guard changed the joints."""
    shares = []
    for dataset in pool.datasets:
        for e in range(dataset.num_episodes):
            columns = dataset.columns(e, ["action", "requested_action"])
            joints, requested = (columns[name][:, :-1] for name in ("action", "requested_action"))
            shares.append((joints != requested).any(1).mean())
    return np.array(shares)
