"""DPO (Rafailov et al. 2023) on action chunks, with the loss of Diffusion-DPO (Wallace et al. 2024).

    pairs: two episodes of one seed, acted with other noise; preferred is the one with the better return
    pi <- argmin E -log sigmoid(-BETA ((L(w) - L_ref(w)) - (L(l) - L_ref(l)))),   ref: the pretrained policy

w and l are the k-th chunks of the preferred and of the other episode. L is the loss of the policy's head, which for a
flow stands in for -log p as the denoising loss does in Diffusion-DPO, at the same flow times and noise for all four. Of
a pair's episodes chunks are drawn, where DPO has one answer: by Jensen's inequality that is a bound of the loss of
whole episodes, as Diffusion-DPO's over times is.

The round's rollouts are one half of the pairs; the other half is played, at most `online.episodes`.

Departure: episodes that end alike, their returns nearer than MARGIN, are no pair.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from policies.core.inputs import Batch, TensorGroup
from policies.core.interface import Policy
from policies.models import checkpoint
from policies.training.trainer import Loss
from rl.algorithms.all_data import AllData
from rl.algorithms.base import ALGORITHMS
from rl.algorithms.grpo import episode_returns
from rl.algorithms.on_policy import outcomes
from rl.data.pool import ROLLOUT, open_pool
from rl.data.rollouts import Behaviour, record_rollouts, who_acted
from rl.learning.chunks import Chunks, check_draws_chunks
from rl.learning.config import LearningConfig
from rl.learning.online import OnlineLog, check_newest_chunk_alone, world_of
from rl.learning.policy_gradient import LogRatio, fit_online
from rl.learning.round import Round
from sim.dataset.reader import Dataset

BETA = 2.0  # losses are means over steps and joints
MARGIN = 0.05  # of returns in [-1, 0]


@ALGORITHMS.register("dpo")
class Dpo(AllData):
    """Preferences between two episodes of a seed."""

    plays = True

    def check(self, config: LearningConfig, policy: Policy) -> None:
        check_newest_chunk_alone(policy)
        check_draws_chunks(policy)

    def improve(self, data: Round) -> None:
        if data.is_trained:
            return
        played = self.play(data)
        OnlineLog(data.folder).add(outcomes(open_pool(played.datasets[-1:])))
        policy, _ = checkpoint.load(data.pretrained)
        loss = preference_loss(LogRatio(policy, checkpoint.load(data.pretrained)[0]))
        fit_online(played, policy, Pairs(played, policy), loss, data.policy, 1)

    def play(self, data: Round) -> Round:
        """Return two episodes each of the first seeds: the round's rollouts, and the same seeds played once more."""
        config, world, first = data.config, world_of(data.rollouts), open_pool(data.rollouts)
        alone = first.source == ROLLOUT
        seeds = np.unique(first.seed[alone])[: config.online.episodes].tolist()
        acted = [dataset for i, dataset in enumerate(first.datasets) if alone[first.dataset == i].any()]
        behaviour = Behaviour(str(played_by(acted, data.pretrained)), 1.0, draw=1)
        again = record_rollouts(data.folder / "replayed", world, behaviour, seeds, config)
        roots = [*(dataset.root for dataset in acted), again]
        return data.part(data.folder, roots, roots)


def played_by(datasets: Sequence[Dataset], otherwise: Path) -> Path:
    """Return the checkpoint that acted in the datasets, `otherwise` where they do not say or it is there no more."""
    said = [who_acted(one.provenance) for one in datasets]
    return next((Path(root) for root in said if root and (Path(root) / checkpoint.WEIGHTS).is_file()), otherwise)


@dataclass
class Preference(TensorGroup):
    """Chunks of preferred episodes, and of the others."""

    better: Batch
    worse: Batch


class Pairs:
    """Gives random pairs of chunks of two episodes of one seed."""

    def __init__(self, played: Round, policy: Policy):
        """played: datasets with episodes that the policy acted alone, which count, and others."""
        self._pool, self._execute, self._chunks = played.pool, policy.config.execute, Chunks(played, policy)
        alone = np.flatnonzero(played.pool.source == ROLLOUT)
        # (P, 2) episodes, the better one first
        self.preferred = alone[preferred(episode_returns(played)[alone], played.pool.seed[alone])]

    @property
    def count(self) -> int:
        return int(-(-self._pool.length[self.preferred] // self._execute).sum())

    def sample(self, rng: np.random.Generator, size: int) -> Preference:
        """Return the k-th chunks of both episodes of random pairs, k random."""
        pairs = self.preferred[rng.integers(len(self.preferred), size=size)]
        both_have = -(-self._pool.length[pairs].min(1) // self._execute)
        rows = self._pool.first[pairs] + rng.integers(both_have)[:, None] * self._execute
        return Preference(*(self._chunks.batch(rows[:, i]) for i in (0, 1)))


def preferred(returns: np.ndarray, seed: np.ndarray) -> np.ndarray:
    """Return pairs of episodes (P, 2) of one seed, the better one first. Both (E,)."""
    order = np.lexsort((returns, seed))
    worse, better = order[:-1], order[1:]
    unlike = (seed[worse] == seed[better]) & (returns[better] - returns[worse] > MARGIN)
    return np.stack([better[unlike], worse[unlike]], 1)


def preference_loss(ratio: Callable[[Batch, torch.Generator], Tensor]) -> Loss:
    """Return the loss of preferences. ratio: log of pi / ref as `LogRatio` has it."""

    def loss(pairs: Preference, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        seed = int(torch.randint(2**31, (), generator=generator))
        better, worse = (ratio(one, torch.Generator().manual_seed(seed)) for one in (pairs.better, pairs.worse))
        margin = better - worse
        agreed = (margin.detach() > 0).float().mean()
        return -F.logsigmoid(BETA * margin).mean(), {"margin": margin.detach().mean(), "agreed": agreed}

    return loss
