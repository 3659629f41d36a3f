"""A noise actor beside a checkpoint: it decides which noise a frozen policy's chunks are made of (DSRL).

noise_actor.safetensors   the network, its inputs' scale, and the directions of noise that it steers
noise_actor.json          their sizes

Written by an RL algorithm. A checkpoint without it draws all of its noise.

Shapes: B batch, F width of the policy's embedding, K steered directions, T steps of a chunk, D action dimension.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from policies.models import companion

NAME = "noise_actor"


@dataclass(frozen=True)
class NoiseActorSizes:
    """What a noise actor is built from."""

    features: int
    steps: int
    action_dim: int
    directions: int
    hidden: int = 256
    largest: float = 2.0  # of a steered direction, in standard deviations of what is drawn


class NoiseActor(nn.Module):
    """Embedding -> how far along each direction; the rest of the noise stays as it is drawn."""

    mean: Tensor
    std: Tensor
    basis: Tensor

    def __init__(self, sizes: NoiseActorSizes):
        super().__init__()
        self.sizes = sizes
        self.register_buffer("mean", torch.zeros(sizes.features))
        self.register_buffer("std", torch.ones(sizes.features))
        self.register_buffer("basis", torch.zeros(sizes.directions, sizes.steps * sizes.action_dim))  # orthonormal rows
        self.net = nn.Sequential(
            nn.Linear(sizes.features, sizes.hidden), nn.ReLU(), nn.Linear(sizes.hidden, sizes.hidden), nn.ReLU(),
            nn.Linear(sizes.hidden, sizes.directions), nn.Tanh(),
        )  # fmt: skip

    def scaled(self, embedding: Tensor) -> Tensor:
        """(B, F) -> (B, F), as the network sees it."""
        return ((embedding.float() - self.mean) / self.std).clamp(-8, 8)

    def forward(self, embedding: Tensor) -> Tensor:
        """(B, F) -> (B, K) in +-`largest`."""
        return self.sizes.largest * self.net(self.scaled(embedding))

    def noise(self, steered: Tensor, generator: torch.Generator) -> Tensor:
        """(B, K) along the directions -> noise (B, T, D); what is orthogonal to them is drawn."""
        drawn = torch.randn((len(steered), self.basis.shape[1]), generator=generator)
        drawn = drawn + (steered - drawn @ self.basis.T) @ self.basis
        return drawn.unflatten(1, (self.sizes.steps, self.sizes.action_dim))


def save_noise_actor(root: Path, actor: NoiseActor) -> None:
    """Write it beside the checkpoint in `root`."""
    companion.save(root, NAME, actor, asdict(actor.sizes))


def load_noise_actor(root: Path | str) -> NoiseActor | None:
    """Return a checkpoint's noise actor, None where it has none. UserError when it is broken."""
    return companion.load(root, NAME, lambda **sizes: NoiseActor(NoiseActorSizes(**sizes)))
