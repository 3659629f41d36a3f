"""PPO (Schulman et al. 2017) on action chunks, with as much simulation as it takes: an upper bound, not a rival.

    delta_t = r_t + ... + r_{t+n-1} + V(s_{t+n}) - V(s_t)
    A_t = delta_t + LAMBDA A_{t+n}                             over the chunks of an episode
    pi <- argmax E min(r A, clip(r, 1 - CLIP, 1 + CLIP) A)

`online.unlimited` episodes are played in `online.updates` updates; give more of both for a higher bound.

Departures: a flow has no likelihood; r is FPO's stand-in for its ratio (`rl.learning.policy_gradient`). No discount, as
returns lie in [-1, 0]. V is RECAP's, cross-fitted anew at every update to the newest episodes and those of the start,
so that it knows what success is while there is none yet; PPO's is of the newest alone.
"""

import numpy as np

from policies.models import checkpoint
from rl.algorithms.base import ALGORITHMS
from rl.algorithms.on_policy import OnPolicy
from rl.learning.chunk_transitions import chunk_rewards
from rl.learning.policy_gradient import follow_gradient
from rl.learning.round import Round

LAMBDA = 0.95


@ALGORITHMS.register("ppo")
class Ppo(OnPolicy):
    """Chunk by chunk better or worse than expected."""

    def episodes(self, data: Round) -> int:
        return data.config.online.unlimited

    def update(self, data: Round, played: list[Round]) -> None:
        newest = played[-1]
        follow_gradient(newest, standardized(chunk_advantages(data, newest)), newest.policy)


def chunk_advantages(data: Round, played: Round) -> np.ndarray:
    """Return A of a chunk that begins at each frame of `played`, (N,)."""
    roots = [*data.datasets, *played.datasets]
    judged = data.part(played.folder, roots, played.datasets)
    policy, _ = checkpoint.load(played.pretrained)
    return generalized_advantages(*chunk_rewards(played, policy.config.execute), judged.fit.values[judged.newest])


def generalized_advantages(
    reward: np.ndarray, later: np.ndarray, goes_on: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """Return A (N,). All (N,): reward of a chunk, the frame after it, whether there is one, V in [-1, 0]."""
    found = reward + goes_on * values[later] - values
    for t in np.flatnonzero(goes_on)[::-1]:
        found[t] += LAMBDA * found[later[t]]
    return found


def standardized(advantages: np.ndarray) -> np.ndarray:
    """Return them about their mean, in standard deviations."""
    return (advantages - advantages.mean()) / max(float(advantages.std()), 1e-6)
