"""Fitting of a chunk critic by gradient steps on random transitions; what is minimized is an algorithm's own.

Shapes: B batch, K networks.
"""

import copy
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from policies.models.chunk_critic import ChunkCritic, CriticSizes
from policies.training.optim import OptimConfig
from rl.learning.chunk_transitions import Transitions
from sim.core.console import track

TARGET_RATE = 0.02  # of the averaged networks that targets come from
LEARNING_RATE = 5e-4

CriticLoss = Callable[[Tensor], Tensor]  # int64 (B,) rows -> scalar


class CriticPair:
    """A critic, its slow average, and their inputs."""

    def __init__(self, data: Transitions, seed: int):
        torch.manual_seed(seed)
        steps, action_dim = data.chunk.shape[1:]
        self.data = data
        self.online = ChunkCritic(CriticSizes(data.features.shape[1], steps, action_dim))
        self.online.standardize(self.inputs(data.rows))
        self.slow = copy.deepcopy(self.online).requires_grad_(requires_grad=False)

    def inputs(self, rows: Tensor, chunk: Tensor | None = None) -> Tensor:
        """Return a critic's inputs at these rows (B,), of the recorded chunks or of others."""
        data = self.data
        return self.online.inputs(data.features[rows], data.state[rows], data.chunk[rows] if chunk is None else chunk)

    @torch.no_grad()
    def follow(self) -> None:
        """Move the slow average on."""
        for slow, online in zip(self.slow.parameters(), self.online.parameters(), strict=True):
            slow.lerp_(online, TARGET_RATE)

    def fit(self, loss: CriticLoss, config: OptimConfig, *others: nn.Module) -> ChunkCritic:
        """Take `config.steps` gradient steps on critic and others; return the slow average."""
        rng, modules = np.random.default_rng(config.seed), nn.ModuleList([self.online, *others])
        optimizer = torch.optim.AdamW(modules.parameters(), LEARNING_RATE, weight_decay=config.weight_decay)
        rows = self.data.rows.numpy()
        for _ in track(range(config.steps), "critic of chunks"):
            optimizer.zero_grad()
            loss(torch.from_numpy(rng.choice(rows, config.batch))).backward()
            optimizer.step()
            self.follow()
        return self.slow.eval()
