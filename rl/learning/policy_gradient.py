"""Policy gradients of policies without a likelihood, on the chunks that they decided in recorded episodes.

    r(theta) = exp(L_old(s, a) - L_theta(s, a))
    J(theta) = E min(r A, clip(r, 1 - CLIP, 1 + CLIP) A)

L is the loss of the policy's own head at a chunk. Of a flow it is an estimate of a bound of -log p(a|s), so that r
stands in for the ratio of likelihoods (flow policy optimization, FPO; McAllister et al. 2025, eq. 12 to 14). Both
losses are taken at the same flow times and the same noise.

Shapes: N frames of a pool, B batch.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from policies.core.inputs import Batch, TensorGroup
from policies.core.interface import Policy
from policies.models import checkpoint
from policies.processing.observation import ObservationProcessor
from policies.training.fit import fit, start_from
from policies.training.loop import Log
from policies.training.optim import OptimConfig
from policies.training.trainer import Loss
from rl.learning.chunks import Chunks
from rl.learning.config import LearningConfig
from rl.learning.retrain import describe_round
from rl.learning.round import Round

_log = logging.getLogger(__name__)

CLIP = 0.05
PASSES = 10  # over the samples of an update, at most
RATE = 0.25  # times `retrain.learning_rate`: what is learned from is never more than a few hundred episodes


@dataclass
class Judged(TensorGroup):
    """Chunks, and how much better than expected they were."""

    batch: Batch
    advantage: Tensor  # (B,)


class JudgedChunks:
    """Gives random chunks that there is something to learn from."""

    def __init__(self, chunks: Chunks, advantage: np.ndarray):
        """advantage: (N,) of the pool's frames, of which those where the policy decided count; 0: nothing to learn."""
        self._chunks, self._advantage = chunks, torch.from_numpy(advantage).float()
        self.rows = chunks.decided[advantage[chunks.decided] != 0]

    @property
    def count(self) -> int:
        return len(self.rows)

    def sample(self, rng: np.random.Generator, size: int) -> Judged:
        """Return random ones."""
        rows = rng.choice(self.rows, size)
        return Judged(self._chunks.batch(rows), self._advantage[rows])


class LogRatio:
    """log r of a policy against what it is now."""

    def __init__(self, policy: Policy, old: Policy):
        self._policy, self._old = policy, old.eval().requires_grad_(requires_grad=False)

    def __call__(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """(B,)"""
        seed = int(torch.randint(2**31, (), generator=generator))
        with torch.no_grad():
            before = self._old.to(batch.actions.device).losses(batch, torch.Generator().manual_seed(seed))
        return before - self._policy.losses(batch, torch.Generator().manual_seed(seed))


def clipped(log_ratio: Tensor, advantage: Tensor) -> Tensor:
    """Return -J of each sample; (B,) each."""
    ratio = log_ratio.exp()
    return -torch.minimum(ratio * advantage, ratio.clamp(1 - CLIP, 1 + CLIP) * advantage)


def divergence(log_ratio: Tensor) -> Tensor:
    """Return what grows as a policy leaves another: r' - log r' - 1 with r' = 1 / r, (B,) (GRPO, Shao et al. 2024)."""
    return (-log_ratio).exp() + log_ratio - 1


def follow_gradient(
    played: Round, advantage: np.ndarray, out: Path, anchor: Path | None = None, beta: float = 0.0, *,
    actions_alone: bool = False, stages: int = 1,
) -> None:  # fmt: skip
    """Take an update of the policy that played and write the checkpoint to `out`.

    advantage: (N,) of the frames of `played`. anchor: a checkpoint that leaving costs, `beta` times the divergence.
    actions_alone: what only sees stays as it is. stages: of an update, which share its gradient steps. Where there is
    nothing to learn, the policy is written as it is.
    """
    policy, _ = checkpoint.load(played.pretrained)
    if actions_alone:
        policy.requires_grad_(requires_grad=False)
        for parameter in policy.action_parameters():
            parameter.requires_grad = True
    chunks = JudgedChunks(Chunks(played, policy), advantage)
    fits = stages * played.config.online.updates
    fit_online(played, policy, chunks, objective(policy, played.pretrained, anchor, beta), out, fits)


def objective(policy: Policy, old: Path, anchor: Path | None, beta: float) -> Loss:
    """Return the loss of judged chunks: -J, and `beta` times the divergence from the checkpoint `anchor`."""
    ratio = LogRatio(policy, checkpoint.load(old)[0])
    left = LogRatio(policy, checkpoint.load(anchor)[0]) if anchor else None

    def loss(judged: Judged, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        total = clipped(ratio(judged.batch, generator), judged.advantage).mean()
        parts = {"gain": -total.detach()}
        if left:
            away = divergence(left(judged.batch, generator)).mean()
            total, parts = total + beta * away, {**parts, "divergence": away.detach()}
        return total, parts

    return loss


class Counted(Protocol):
    """Random batches, and how many different samples there are."""

    @property
    def count(self) -> int: ...
    def sample(self, rng: np.random.Generator, size: int) -> Any: ...


def fit_online(played: Round, policy: Policy, samples: Counted, loss: Loss, out: Path, fits: int) -> None:
    """Fit `policy`, that of `played.pretrained`, and write it to `out`; as it is, where there are no samples.

    fits: how many share the round's gradient steps.
    """
    before = start_from(*checkpoint.load(played.pretrained))
    metadata = describe_round(played, ObservationProcessor(policy), before)
    if samples.count:
        fit(policy, samples, optim(played.config, samples.count, fits), out, metadata, Log(played.tracker), loss)
    else:
        _log.warning("%s: episodes of one seed all ended alike, nothing is learned from them", played.folder)
        checkpoint.save(out, policy, metadata)


def optim(config: LearningConfig, samples: int, fits: int) -> OptimConfig:
    """Return the options of one of `fits` that share the round's gradient steps, at most PASSES over the samples."""
    given = config.retrain
    most = max(PASSES * samples // given.batch, 1)
    steps = max(min(given.steps // fits, most), 1)
    return replace(
        given, steps=steps, learning_rate=RATE * given.learning_rate, warmup_steps=steps // 10, ema_decay=0.0
    )
