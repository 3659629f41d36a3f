"""IQL (Kostrikov et al. 2021) on action chunks, played as IDQL does (Hansen-Estruch et al. 2023): best of n samples.

    V <- argmin E L(min_k Q_k(s_t, a_t..a_{t+n}) - V(s_t)),  L(u) = |TAU - 1(u < 0)| u^2, Q_k slow averages
    Q <- argmin E (r_t + ... + r_{t+n-1} + V(s_{t+n}) - Q(s_t, a_t..a_{t+n}))^2
    at run time: a_1..a_m ~ imitation of all data; play argmax_i Q(s, a_i)

Departures: chunks of n steps instead of single ones; no discount, values lie in [-1, 0]; the flow head of the policy in
place of IDQL's diffusion, and the best sample instead of one drawn by its expectile weight.
"""

import torch
from torch import Tensor, nn

from policies.core.interface import Policy
from policies.models.chunk_critic import ChunkCritic
from policies.training.optim import OptimConfig
from rl.algorithms.base import ALGORITHMS
from rl.algorithms.best_of_samples import BestOfSamples
from rl.learning.chunk_learning import CriticPair
from rl.learning.chunk_transitions import Transitions, chunk_transitions
from rl.learning.round import Round

TAU = 0.9
HIDDEN = 256


@ALGORITHMS.register("iql")
class Iql(BestOfSamples):
    """A critic of expectiles."""

    def fit_critic(self, data: Round, policy: Policy) -> ChunkCritic:
        return fit_iql(chunk_transitions(data, policy), data.config.retrain)


def fit_iql(data: Transitions, config: OptimConfig) -> ChunkCritic:
    """Return the critic; config: steps, batch and seed."""
    pair = CriticPair(data, config.seed)
    width = data.features.shape[1]
    value = nn.Sequential(nn.Linear(width, HIDDEN), nn.LayerNorm(HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, 1))

    def values(rows: Tensor) -> Tensor:
        seen = (data.features[rows].float() - pair.online.mean[:width]) / pair.online.std[:width]
        return value(seen.clamp(-8, 8))[:, 0]

    def loss(rows: Tensor) -> Tensor:
        inputs = pair.inputs(rows)
        above = pair.slow(inputs).amin(0) - values(rows)
        expectile = ((TAU - (above.detach() < 0).float()).abs() * above.square()).mean()
        with torch.no_grad():
            later = values(data.later[rows]).clamp(-1.0, 0.0) * data.goes_on[rows]
        target = (data.reward[rows] + later).clamp(-1.0, 0.0)
        return expectile + (pair.online(inputs) - target).square().mean(1).sum()

    return pair.fit(loss, config, value)
