"""A critic of action chunks beside a checkpoint: of several samples of the policy the best one is played.

critic.safetensors   two networks, of which the lower value counts
critic.json          their sizes, and how many samples are drawn

Written by an RL algorithm. A checkpoint without them plays the first sample.

Shapes: B batch, F width of the policy's embedding, T steps of a chunk that are played, D action dimension.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from sim.core.errors import UserError
from sim.dataset.files import write_atomic

WEIGHTS, SIZES = "critic.safetensors", "critic.json"


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
    return (Path(root) / WEIGHTS).is_file()


def save_critic(root: Path, critic: ChunkCritic) -> None:
    """Write both files, each whole or not at all; the weights last."""
    write_atomic(root / SIZES, json.dumps(asdict(critic.sizes), indent=1).encode())
    write_atomic(root / WEIGHTS, save({name: value.contiguous() for name, value in critic.state_dict().items()}))


def load_critic(root: Path | str) -> ChunkCritic | None:
    """Return a checkpoint's critic in evaluation mode, None where it has none. UserError when it is broken."""
    if not has_critic(root):
        return None
    try:
        critic = ChunkCritic(CriticSizes(**json.loads((Path(root) / SIZES).read_text())))
        critic.load_state_dict(load((Path(root) / WEIGHTS).read_bytes()))
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise UserError(f"the critic in {root} is broken: {str(error).splitlines()[0]}") from error
    return critic.eval()
