"""A critic of action chunks beside a checkpoint: of several samples of the policy the best one is played.

critic.safetensors   two networks, of which the lower value counts
critic.json          their sizes, and how many samples are drawn

Written by an RL algorithm. A checkpoint without them plays the first sample.

Shapes: B batch, F width of the policy's embedding, T steps of a chunk that are played, D action dimension.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from policies.models import companion

NAME = "critic"


@dataclass(frozen=True)
class CriticSizes:
    """What a critic is built from."""

    features: int
    steps: int
    action_dim: int
    hidden: int = 256
    samples: int = 16  # chunks of the policy to choose among


class ChunkCritic(nn.Module):
    """(embedding, chunk) -> value in units of the task's time limit. Inputs are standardized by the training frames."""

    mean: Tensor
    std: Tensor

    def __init__(self, sizes: CriticSizes):
        super().__init__()
        self.sizes = sizes
        inputs = sizes.features + sizes.steps * sizes.action_dim
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("std", torch.ones(inputs))
        self.nets = nn.ModuleList(_mlp(inputs, sizes.hidden) for _ in range(2))

    def inputs(self, embedding: Tensor, state: Tensor, chunk: Tensor) -> Tensor:
        """(B, F), (B, D) as measured, (B, >= T, D) absolute targets -> (B, F + T D): targets relative to the state."""
        relative = chunk[:, : self.sizes.steps] - state[:, None]
        return torch.cat([embedding.float(), relative.flatten(1)], 1)

    def standardize(self, inputs: Tensor) -> None:
        """Set the buffers by these inputs (N, F + T D)."""
        self.mean.copy_(inputs.mean(0))
        self.std.copy_(inputs.std(0).clamp(min=1e-3))

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, F + T D) -> (2, B), one value a network."""
        scaled = ((inputs - self.mean) / self.std).clamp(-8, 8)
        return torch.stack([net(scaled)[:, 0] for net in self.nets])

    @torch.no_grad()
    def best(self, embedding: Tensor, state: Tensor, chunk: Tensor) -> int:
        """Return the index of the chunk with the highest value."""
        return int(self(self.inputs(embedding, state, chunk)).amin(0).argmax())


def _mlp(inputs: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.LayerNorm(hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(),
        nn.Linear(hidden, 1),
    )  # fmt: skip


def has_critic(root: Path | str) -> bool:
    """Return whether a checkpoint directory holds a critic."""
    return companion.is_there(root, NAME)


def save_critic(root: Path, critic: ChunkCritic) -> None:
    """Write it beside the checkpoint in `root`."""
    companion.save(root, NAME, critic, asdict(critic.sizes))


def load_critic(root: Path | str) -> ChunkCritic | None:
    """Return a checkpoint's critic, None where it has none. UserError when it is broken."""
    return companion.load(root, NAME, lambda **sizes: ChunkCritic(CriticSizes(**sizes)))
