"""The regression head: the whole chunk in one pass, learned by its L1 error (OpenVLA-OFT, Kim et al. 2025).

Parallel decoding: no action waits for another. There is no noise, so one observation has one chunk; where
demonstrations go two ways, that is the median of both, which may be neither.

Small here: a residual network on the context where OFT has a language model's hidden states before such a network.

Shapes: B batch, T steps of a chunk, D action dimension, N context tokens, W token width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from policies.core.parts import Head, HeadConfig, HeadShape
from policies.core.registry import HEADS
from policies.heads.flow import INNER
from policies.heads.network import ChunkNetwork, Guided
from policies.heads.valid_steps import valid_mean
from sim.core.options import at_least, option


@HEADS.register("regression")
@dataclass(frozen=True)
class RegressionConfig(HeadConfig):
    """Sizes of the head."""

    name: str = "regression"
    hidden: int = option(384, "width", at_least(1))
    blocks: int = option(4, "residual blocks", at_least(1))
    inner: int = option(0, INNER, at_least(0))

    def build(self, shape: HeadShape) -> "RegressionHead":
        return RegressionHead(self, shape)


class RegressionHead(Head):
    """Context tokens to the median of the chunks that were seen with them."""

    draws_chunks = False

    def __init__(self, config: RegressionConfig, shape: HeadShape):
        super().__init__()
        self.shape = shape
        self.network = ChunkNetwork(shape, config.hidden, config.blocks, config.inner)

    def forward(self, context: Tensor) -> Tensor:
        """(B, N, W) -> (B, T, D)."""
        return self.network(self.network.encode(context)).unflatten(1, (self.shape.chunk, self.shape.action_dim))

    def loss(self, actions: Tensor, valid: Tensor, context: Tensor, generator: torch.Generator) -> Tensor:
        return valid_mean((self(context) - actions).abs().mean(-1), valid)

    @torch.no_grad()
    def sample(
        self, context: Tensor, generator: torch.Generator, unconditional: Tensor | None = None, guidance: float = 1.0
    ) -> Tensor:
        guided = Guided.of(context, unconditional, guidance)
        return guided(lambda: self(guided.contexts))
