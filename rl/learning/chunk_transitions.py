"""Transitions of action chunks: what a critic of chunks is fitted to, from the frames of a pool.

    (s_t, a_t..a_{t+n-1}, r_t + ... + r_{t+n-1}, s_{t+n}), rewards and returns in value units as RECAP's

A chunk that reaches the end of its episode, or an intervention, has the true remaining return and no next state. Where
another takes over within a chunk no transition begins: its actions would be those of both.

Shapes: N frames of a pool, M transitions, F width of the policy's embedding, n steps of a chunk, D action dimension.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from policies.core.interface import Policy
from policies.processing.data import EpisodeTable, FrameInputs, Source
from policies.processing.observation import ObservationProcessor
from rl.advantage.returns import returns
from rl.data.pool import Interventions
from rl.learning.round import Round
from rl.value.value_features import BATCH, value_features
from sim.core.console import track


@dataclass(frozen=True)
class Transitions:
    """Frames, and the rows of them that begin a transition."""

    features: Tensor  # (N, F) float16
    state: Tensor  # (N, D) as measured
    chunk: Tensor  # (N, n, D) absolute targets
    reward: Tensor  # (N,) of the chunk, in [-1, 0]
    later: Tensor  # int64 (N,) the frame after the chunk; itself where there is none
    goes_on: Tensor  # bool (N,) whether there is one
    rows: Tensor  # int64 (M,)


def chunk_transitions(data: Round, policy: Policy) -> Transitions:
    """Return those of all frames that are to be imitated; n: what `policy` plays of a chunk.

    From here on torch has the threads of the retraining, on whose number sums depend: a critic that is fitted after a
    restart, where the policy is there already, is the same. Whatever else goes into one is computed after these.
    """
    torch.set_num_threads(data.config.retrain.threads)
    pool, n = data.pool, policy.config.execute
    tables = [EpisodeTable(Source(dataset.root)) for dataset in pool.datasets]
    windows = [table.windows(np.arange(len(table.frame)), n)[0] for table in tables]
    reward, later, goes_on = chunk_rewards(data, n)
    left_out = np.concatenate([table.perturbed | taken_over(table, n) for table in tables])
    return Transitions(
        features=value_features(ObservationProcessor(policy), pool, data.config.workers),
        state=torch.from_numpy(np.concatenate([table.state for table in tables])),
        chunk=torch.from_numpy(np.concatenate(windows)),
        reward=torch.from_numpy(reward).float(),
        later=torch.from_numpy(later),
        goes_on=torch.from_numpy(goes_on),
        rows=torch.from_numpy(np.flatnonzero(~left_out & pool.counted)),
    )


def taken_over(table: EpisodeTable, n: int) -> np.ndarray:
    """Return bool (N,): an intervention begins or ends within the n steps from a frame, in its episode."""
    ahead, _ = table.following(np.arange(len(table.frame)), n)
    return (table.intervention[ahead] != table.intervention[:, None]).any(1)


def chunk_rewards(data: Round, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return `reward`, `later` and `goes_on` (N,) of chunks of n steps."""
    pool, config = data.pool, data.config.label
    reward, later = np.zeros(len(pool.owner)), np.arange(len(pool.owner))
    for e, part in pool.segments(Interventions(config.interventions)):
        scale, rows = config.scale(data.time_limits[str(pool.task[e])]), slice(part.start, part.stop)
        ahead = np.concatenate([returns(data.targets.steps[rows]), np.zeros(n)])
        reward[rows] = (ahead[:-n] - ahead[n:]) / scale.steps_per_unit
        later[part.start : max(part.stop - n, part.start)] += n
    return reward.clip(-1.0, 0.0), later, later > np.arange(len(later))


@torch.no_grad()
def policy_samples(data: Round, policy: Policy, samples: int, seed: int) -> Tensor:
    """Return (N, samples, n, D): chunks that `policy` draws at every frame of the pool, the n steps that are played."""
    processor, generator, parts = ObservationProcessor(policy), torch.Generator().manual_seed(seed), []
    for dataset in data.pool.datasets:
        table = EpisodeTable(Source(dataset.root))
        inputs, rows = FrameInputs(table, processor, data.config.workers), np.arange(len(table.frame))
        for batch in track(np.split(rows, range(BATCH, len(rows), BATCH)), f"samples at {dataset.root.name}"):
            drawn = policy.act(inputs(np.repeat(batch, samples)), generator).chunk
            parts.append(drawn[:, : policy.config.execute].unflatten(0, (len(batch), samples)))
    return torch.cat(parts)
