"""CQL (Kumar et al. 2020) on action chunks: a critic that is conservative about chunks that were not played.

    Q_k <- argmin E (r_t + ... + r_{t+n-1} + max_i min_k Q_k'(s_{t+n}, a_i') - Q_k(s_t, a_t..a_{t+n}))^2
                  + ALPHA E (T log sum_i exp(Q_k(s_t, a_i) / T) - Q_k(s_t, a_t..a_{t+n}))
    a_i ~ imitation of all data, at run time too, where argmax_i Q(s, a_i) is played

Departures: chunks of n steps instead of single ones; samples of the imitation policy, drawn once a frame, take the
place of an actor and of uniform actions; values lie in [-1, 0], so that a temperature T sets their scale.
"""

import torch
from torch import Tensor

from policies.core.interface import Policy
from policies.models.chunk_critic import ChunkCritic
from policies.training.optim import OptimConfig
from rl.algorithms.base import ALGORITHMS
from rl.algorithms.best_of_samples import BestOfSamples
from rl.learning.chunk_learning import CriticPair
from rl.learning.chunk_transitions import Transitions, chunk_transitions, policy_samples
from rl.learning.round import Round

ALPHA, TEMPERATURE = 0.02, 0.05
SAMPLES = 4


@ALGORITHMS.register("cql")
class Cql(BestOfSamples):
    """A conservative critic."""

    def fit_critic(self, data: Round, policy: Policy) -> ChunkCritic:
        transitions = chunk_transitions(data, policy)
        samples = policy_samples(data, policy, SAMPLES, data.config.retrain.seed)
        return fit_cql(transitions, samples, data.config.retrain)


def fit_cql(data: Transitions, samples: Tensor, config: OptimConfig, reached: Tensor | None = None) -> ChunkCritic:
    """Return the critic. samples: (N, m, n, D) of the policy; config: steps, batch and seed.

    reached: (N,) returns below which no value is pushed (Cal-QL, Nakamoto et al. 2023).
    """
    pair = CriticPair(data, config.seed)
    least = torch.full((len(samples),), -torch.inf) if reached is None else reached

    def of_samples(critic: ChunkCritic, rows: Tensor) -> Tensor:
        """(B,) -> (m, 2, B) values of the policy's samples at these frames."""
        return torch.stack([critic(pair.inputs(rows, samples[rows, i])) for i in range(samples.shape[1])])

    def loss(rows: Tensor) -> Tensor:
        played, offered = pair.online(pair.inputs(rows)), of_samples(pair.online, rows)
        with torch.no_grad():
            later = of_samples(pair.slow, data.later[rows]).amin(1).amax(0).clamp(-1.0, 0.0)
        target = (data.reward[rows] + later * data.goes_on[rows]).clamp(-1.0, 0.0)
        soft_maximum = TEMPERATURE * (offered.maximum(least[rows]) / TEMPERATURE).logsumexp(0)
        return ((played - target).square() + ALPHA * (soft_maximum - played)).mean(1).sum()

    return pair.fit(loss, config)
