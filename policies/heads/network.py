"""What several heads are made of: residual networks from context to a whole chunk, and guidance.

Shapes: B batch, T steps of a chunk, D action dimension, N context tokens, W token width, H hidden width.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from policies.core.parts import HeadShape
from policies.heads.flow import ResidualBlock


class ChunkNetwork(nn.Module):
    """A residual network from context, and from what else a head conditions on, to `outputs` numbers."""

    def __init__(self, shape: HeadShape, hidden: int, blocks: int, inner: int, inputs: int = 0, outputs: int = 0):
        """inner: units between the maps of a block, 0 is twice `hidden`. inputs: numbers beside the context. outputs:
        0 is a number for each value of a chunk."""
        super().__init__()
        inner = inner or 2 * hidden
        self.context = nn.Sequential(
            nn.Linear(shape.context_tokens * shape.width, hidden), nn.SiLU(), nn.Linear(hidden, hidden)
        )
        self.embed = nn.Linear(inputs, hidden) if inputs else None
        self.condition = nn.Linear(hidden, inner)
        self.blocks = nn.ModuleList(ResidualBlock(hidden, inner) for _ in range(blocks))
        self.norm = nn.LayerNorm(hidden)
        self.out = nn.Linear(hidden, outputs or shape.chunk * shape.action_dim)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def encode(self, context: Tensor) -> Tensor:
        """context (B, N, W) -> (B, H), computed once a chunk."""
        return self.context(context.flatten(1))

    def forward(self, encoded: Tensor, inputs: Tensor | None = None) -> Tensor:
        """encoded (B, H), inputs (B, I) -> (B, outputs)."""
        x = encoded if self.embed is None else encoded + self.embed(inputs)
        condition = self.condition(F.silu(encoded))
        for block in self.blocks:
            x = block(x, condition)
        return self.out(self.norm(x))


class Denoiser(nn.Module):
    """A noisy chunk, one of `levels` noise levels and context to a chunk."""

    def __init__(self, shape: HeadShape, hidden: int, blocks: int, inner: int, levels: int):
        super().__init__()
        self.network = ChunkNetwork(shape, hidden, blocks, inner, inputs=shape.chunk * shape.action_dim)
        self.level = nn.Embedding(levels, hidden)
        self.level.weight.data.copy_(_waves(levels, hidden))  # neighbouring levels begin alike

    def encode(self, context: Tensor) -> Tensor:
        return self.network.encode(context)

    def forward(self, noisy: Tensor, level: Tensor, encoded: Tensor) -> Tensor:
        """noisy (B, T, D), level int (B,), encoded (B, H) -> (B, T, D)."""
        return self.network(encoded + self.level(level), noisy.flatten(1)).unflatten(1, noisy.shape[1:])


def _waves(levels: int, width: int) -> Tensor:
    """Return (levels, width) cosines of every level, from slow to fast (Vaswani et al. 2017)."""
    frequencies = torch.exp(torch.linspace(0.0, 3.5, width)) * torch.pi / 4
    return torch.cos(torch.linspace(0.0, 1.0, levels)[:, None] * frequencies + torch.arange(width))


@dataclass(frozen=True)
class Guided:
    """A network's result, guided: u + beta (c - u) of the conditional and the unconditional one.

    Of noise or logits it is classifier-free guidance (Ho & Salimans 2022). Of chunks it is the mean that this gives
    two Gaussians of equal width, and of nothing else: who returns chunks at once is guided by its means.
    """

    contexts: Tensor  # (B, N, W), or (2 B, N, W) with the unconditional ones behind
    guidance: float

    @classmethod
    def of(cls, context: Tensor, unconditional: Tensor | None, guidance: float) -> "Guided":
        """Take what `Head.sample` takes. Both go through the network in one pass: its time is reading its weights."""
        if unconditional is None or guidance == 1.0:
            return cls(context, 1.0)
        return cls(torch.cat([context, unconditional]), guidance)

    def __call__(self, network: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """Return network(*inputs) of inputs (B, ...), each handed on once for every branch."""
        return self.combine(network(*(self.repeat(one) for one in inputs)))

    def repeat(self, inputs: Tensor) -> Tensor:
        """Return inputs (B, ...) once for every branch."""
        return inputs if self.guidance == 1.0 else torch.cat([inputs, inputs])

    def combine(self, found: Tensor) -> Tensor:
        """Return the guided result (B, ...) of those of all branches."""
        if self.guidance == 1.0:
            return found
        conditional, unconditional = found.chunk(2)
        return unconditional + self.guidance * (conditional - unconditional)


def gumbel(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Return Gumbel noise: the largest of logits plus it is a draw from their softmax."""
    return -torch.log(-torch.log(torch.rand(shape, generator=generator).clamp(1e-20, 1 - 1e-7)))
