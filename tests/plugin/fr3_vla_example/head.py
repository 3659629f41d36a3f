"""An action head of somebody else's: a small network that regresses the chunk by its L1 error."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from policies.core.parts import Head, HeadConfig, HeadShape
from policies.core.registry import HEADS
from sim.core.options import at_least, option


@HEADS.register("mlp_l1")
@dataclass(frozen=True)
class MlpConfig(HeadConfig):
    """Sizes of the head."""

    name: str = "mlp_l1"
    hidden: int = option(64, "width", at_least(1))

    def build(self, shape: HeadShape) -> "MlpHead":
        return MlpHead(self, shape)


class MlpHead(Head):
    """Context tokens to a chunk in one pass; no noise, so one observation has one chunk."""

    draws_chunks = False

    def __init__(self, config: MlpConfig, shape: HeadShape):
        super().__init__()
        self.shape = shape
        self.net = nn.Sequential(
            nn.Linear(shape.context_tokens * shape.width, config.hidden), nn.SiLU(),
            nn.Linear(config.hidden, shape.chunk * shape.action_dim),
        )  # fmt: skip

    def forward(self, context: Tensor) -> Tensor:
        """(B, N, W) -> (B, T, D)."""
        return self.net(context.flatten(1)).unflatten(1, (self.shape.chunk, self.shape.action_dim))

    def loss(self, actions: Tensor, valid: Tensor, context: Tensor, generator: torch.Generator) -> Tensor:
        error = (self(context) - actions).abs().mean(-1)
        return (error * valid).sum(1) / valid.sum(1).clamp(min=1)

    def sample(
        self, context: Tensor, generator: torch.Generator, unconditional: Tensor | None = None, guidance: float = 1.0
    ) -> Tensor:
        chunk = self(context)
        return chunk if unconditional is None else self(unconditional) + guidance * (chunk - self(unconditional))
