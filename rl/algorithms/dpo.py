"""DPO (Rafailov et al. 2023) on action chunks, with the loss of Diffusion-DPO (Wallace et al. 2024).

    pairs: two episodes of one seed, acted with other noise; preferred is the one with the better return
    pi <- argmin E -log sigmoid(-BETA ((L(w) - L_ref(w)) - (L(l) - L_ref(l)))),   ref: the pretrained policy

w and l are the k-th chunks of the preferred and of the other episode. L is the loss of the policy's head, which for a
flow stands in for -log p as the denoising loss does in Diffusion-DPO, at the same flow times and noise for all four. Of
a pair's episodes chunks are drawn, where DPO has one answer: by Jensen's inequality that is a bound of the loss of
whole episodes, as Diffusion-DPO's over times is.

The round's rollouts are one half of the pairs; the other half is played, at most `online.episodes`, each seed in the
world and by the checkpoint of the dataset that it is from. Episodes of two worlds are no pair: there one seed is two
layouts.

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
from rl.data.pool import ROLLOUT, Pool, open_pool
from rl.data.rollouts import Behaviour, record_rollouts, who_acted
from rl.learning.chunks import Chunks, check_draws_chunks
from rl.learning.config import LearningConfig
from rl.learning.online import OnlineLog, check_newest_chunk_alone, simulated_world, world_of
from rl.learning.policy_gradient import LogRatio, fit_online
from rl.learning.round import Round
from sim.dataset.reader import Dataset
from sim.envs.simulation import SimulationConfig

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
        policy, _ = checkpoint.load(data.pretrained)
        loss = preference_loss(LogRatio(policy, checkpoint.load(data.pretrained)[0]))
        fit_online(played, policy, Pairs(played, policy), loss, data.policy, 1)

    def play(self, data: Round) -> Round:
        """Return two episodes each of the first seeds: the round's rollouts, and the same seeds played once more.

        UserError where no rollouts were simulated.
        """
        config, first = data.config, open_pool(data.rollouts)
        alone, again, left = first.source == ROLLOUT, [], config.online.episodes
        origins = origins_of(first.datasets, np.unique(first.dataset[alone]).tolist(), data.pretrained)
        for k, origin in enumerate(origins):
            own = np.unique(first.seed[alone & np.isin(first.dataset, origin.datasets)])
            seeds = own[: left // (len(origins) - k)].tolist()
            left -= len(seeds)
            behaviour, out = Behaviour(str(origin.policy), 1.0, draw=1), f"replayed_{k}" if k else "replayed"
            again.append(record_rollouts(data.folder / out, origin.world, behaviour, seeds, config))
        OnlineLog(data.folder).add(outcomes(open_pool(again)))
        roots = [*(first.datasets[d].root for origin in origins for d in origin.datasets), *again]
        return data.part(data.folder, roots, roots)


@dataclass
class Origin:
    """Where episodes are from: a world, and the checkpoint that acted in it."""

    world: SimulationConfig
    policy: Path
    datasets: list[int]  # their places among all


def origins_of(datasets: Sequence[Dataset], acted: Sequence[int], otherwise: Path) -> list[Origin]:
    """Return the different origins of the simulated ones of datasets, at least one.

    acted: places of those in which a policy acted alone. otherwise: who did where a dataset does not say. UserError
    where none is simulated.
    """
    world_of([datasets[d].root for d in acted])
    found: list[Origin] = []
    for d in acted:
        world, policy = simulated_world(datasets[d].root), played_by(datasets[d], otherwise)
        same = [origin for origin in found if (origin.world, origin.policy) == (world, policy)]
        if same:
            same[0].datasets.append(d)
        elif world:
            found.append(Origin(world, policy, [d]))
    return found


def played_by(dataset: Dataset, otherwise: Path) -> Path:
    """Return the checkpoint that acted in a dataset, `otherwise` where it does not say or that is there no more."""
    said = who_acted(dataset.provenance)
    return Path(said) if said and (Path(said) / checkpoint.WEIGHTS).is_file() else otherwise


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
        self.preferred = alone[preferred(episode_returns(played)[alone], layouts(played.pool)[alone])]

    @property
    def count(self) -> int:
        return int(-(-self._pool.length[self.preferred] // self._execute).sum())

    def sample(self, rng: np.random.Generator, size: int) -> Preference:
        """Return the k-th chunks of both episodes of random pairs, k random."""
        pairs = self.preferred[rng.integers(len(self.preferred), size=size)]
        both_have = -(-self._pool.length[pairs].min(1) // self._execute)
        rows = self._pool.first[pairs] + rng.integers(both_have)[:, None] * self._execute
        return Preference(*(self._chunks.batch(rows[:, i]) for i in (0, 1)))


def layouts(pool: Pool) -> np.ndarray:
    """Return int (E,), the same number for episodes of one seed of one world."""
    worlds = [simulated_world(dataset.root) for dataset in pool.datasets]
    world = np.array([worlds.index(one) for one in worlds])[pool.dataset]
    return np.unique(np.stack([world, pool.seed]), axis=1, return_inverse=True)[1].ravel()


def preferred(returns: np.ndarray, layout: np.ndarray) -> np.ndarray:
    """Return pairs of episodes (P, 2) of one layout, the better one first. Both (E,)."""
    order = np.lexsort((returns, layout))
    worse, better = order[:-1], order[1:]
    unlike = (layout[worse] == layout[better]) & (returns[better] - returns[worse] > MARGIN)
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
