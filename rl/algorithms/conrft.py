"""ConRFT (Chen et al. 2025): a consistency policy with a Q term, tuned offline, then online with interventions.

    Q  <- argmin Bellman error + ALPHA E (T log sum_i exp(max(Q(s, a_i), R) / T) - Q(s, a)),  a_i ~ pi
    pi <- argmin BETA L_consistency(s, a) - ETA E Q(s, pi(s, z))

    offline   demonstrations, rollouts and interventions of the round; BETA, ETA = OFFLINE
    online    `online.updates` times: play, let the expert intervene where that failed, fit Q and pi again on all of
              it; BETA, ETA = ONLINE. Imitated are demonstrations, successes and interventions.

R is the recorded return: Q is not pushed below what was reached from s (Cal-QL, Nakamoto et al. 2023).

Departures: the consistency head is new, beside the fusion of the pretrained policy, and begins with imitation. Q is
fitted between the updates of pi, by the code of `cql`, not in step with it, and sees the pretrained policy's embedding.
The expert intervenes in an episode that failed, played again from the same seed as in RECAP's rounds; both are counted.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from policies.core.indicator import Indicator
from policies.core.inputs import Batch
from policies.core.interface import Policy
from policies.eye_training.held_out import fit_measured
from policies.heads.consistency import ConsistencyConfig
from policies.models import checkpoint
from policies.models.chunk_critic import ChunkCritic
from policies.models.vla import Vla, with_head
from policies.processing.observation import ObservationProcessor
from policies.training.fit import start_from
from policies.training.trainer import Loss
from rl.advantage.labels import Labels
from rl.algorithms.base import ALGORITHMS, Algorithm
from rl.algorithms.cql import SAMPLES, fit_cql
from rl.algorithms.on_policy import outcomes
from rl.data.pool import episodes_in, open_pool
from rl.data.rollouts import Behaviour, failed_seeds, record_interventions, record_rollouts
from rl.learning.chunk_transitions import chunk_transitions, policy_samples
from rl.learning.config import LearningConfig
from rl.learning.online import OnlineLog, world_of
from rl.learning.retrain import describe_round, labelled
from rl.learning.round import Round
from sim.core.errors import UserError
from sim.envs.simulation import SimulationConfig


@dataclass(frozen=True)
class Weights:
    """Of the two terms of pi's loss."""

    beta: float
    eta: float


BEGIN, OFFLINE, ONLINE = Weights(1.0, 0.0), Weights(1.0, 0.1), Weights(0.5, 1.0)


@ALGORITHMS.register("conrft")
class ConRft(Algorithm):
    """A consistency policy between imitation and Q."""

    plays = True

    def check(self, config: LearningConfig, policy: Policy) -> None:
        if not isinstance(policy, Vla):
            raise UserError(f"algorithm=conrft: policy {policy.config.name!r} has no head to exchange; expected vla")
        if policy.given_steps:
            raise UserError(
                "policy.head.joins=true: the consistency head that algorithm=conrft begins is given no steps of a "
                "chunk; expected policy.head.joins=false"
            )

    def label(self, data: Round) -> Labels:
        """What is imitated is positive; the value of what pi would do is asked for at every frame."""
        return Labels(data.pool.exemplary, np.ones(len(data.pool.owner), np.float32))

    def improve(self, data: Round) -> None:
        if data.is_trained:
            return
        world, log, datasets = world_of(data.rollouts), OnlineLog(data.folder), list(data.datasets)
        policy = self.tune(stage(data, "begin", datasets), None, BEGIN)
        policy = self.tune(stage(data, "offline", datasets), policy, OFFLINE)
        for k in range(data.config.online.updates):
            rollouts, interventions = play(data, world, k, policy)
            log.add(outcomes(open_pool([rollouts])), besides=len(failed_seeds(rollouts)))
            datasets += [root for root in (rollouts, interventions) if episodes_in(root)]
            policy = self.tune(stage(data, f"update_{k}", datasets), policy, ONLINE)
        checkpoint.save(data.policy, *checkpoint.load(policy))

    def tune(self, data: Round, before: Path | None, weights: Weights) -> Path:
        """Fit Q, then pi, on a stage's data; return the checkpoint. before: of pi; None: a new head."""
        if data.is_trained:
            return data.policy
        pretrained, metadata = checkpoint.load(data.pretrained)
        start = start_from(pretrained, metadata)
        policy = checkpoint.load(before)[0] if before else new_consistency(pretrained, data.config.retrain.seed)
        data.write_labels(self.label(data), "conrft")
        critic = fit_critic(data, pretrained, policy) if weights.eta else None
        processor = ObservationProcessor(policy)
        description = describe_round(data, processor, start, weights=weights)
        loss = tuned_loss(policy, pretrained, critic, weights)
        samples, optim = labelled(data, processor), data.config.retrain
        fit_measured(policy, samples, optim, data.policy, description, data.tracker, loss)
        return data.policy


def stage(data: Round, name: str, datasets: list[Path]) -> Round:
    """Return the data of one stage, with its share of the round's gradient steps."""
    config = data.config
    steps = max(config.retrain.steps // (2 + config.online.updates), 1)
    brief = replace(config, retrain=config.retrain.shortened(steps))
    return data.part(data.folder / name, datasets, data.rollouts, config=brief)


def play(data: Round, world: SimulationConfig, k: int, policy: Path) -> tuple[Path, Path]:
    """Return the datasets of update k: autonomous episodes, and those in which the expert intervened."""
    config, folder, behaviour = data.config, data.folder / f"update_{k}", Behaviour(str(policy), 1.0)
    n = max(config.online.episodes // config.online.updates, 1)
    seeds = config.online.seeds(data.number)[k * n : (k + 1) * n]
    rollouts = record_rollouts(folder / "rollouts", world, behaviour, seeds, config)
    interventions = record_interventions(
        folder / "interventions", world, behaviour, rollouts, n, config, config.trigger
    )
    return rollouts, interventions


def new_consistency(pretrained: Policy, seed: int) -> Policy:
    """Return the pretrained policy with a new consistency head."""
    assert isinstance(pretrained, Vla)  # ConRft.check
    torch.manual_seed(seed)
    return with_head(pretrained, ConsistencyConfig())


def fit_critic(data: Round, pretrained: Policy, policy: Policy) -> ChunkCritic:
    """Return Q of the stage's data. policy: pi, whose samples it is conservative about."""
    transitions = chunk_transitions(data, pretrained)
    samples = policy_samples(data, policy, SAMPLES, data.config.retrain.seed)
    reached = torch.from_numpy(data.targets.values).float()
    return fit_cql(transitions, samples, data.config.retrain, reached)


def tuned_loss(policy: Policy, pretrained: Policy, critic: ChunkCritic | None, weights: Weights) -> Loss:
    """Return pi's loss of a labelled batch."""
    chunk = policy.config.chunk, policy.spec.action_dim
    if critic:
        critic.requires_grad_(requires_grad=False)

    def loss(batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        imitated = (batch.indicator == Indicator.POSITIVE).float()
        acted = replace(batch, indicator=torch.full_like(batch.indicator, int(Indicator.POSITIVE)))
        imitation = (policy.losses(acted, generator) * imitated).sum() / imitated.sum().clamp(min=1)
        total, parts = weights.beta * imitation, {"imitation": imitation.detach()}
        if critic:
            noise = torch.randn((len(imitated), *chunk), generator=generator).to(batch.actions)
            decided = policy.steer(batch.inputs, noise).chunk
            with torch.no_grad():
                seen = pretrained.to(noise.device).embedding(batch.inputs)
            critic.to(noise.device)
            value = critic(critic.inputs(seen, batch.inputs.state, decided)).amin(0).mean()
            total, parts = total - weights.eta * value, {**parts, "value": value.detach()}
        return total, parts

    return loss
