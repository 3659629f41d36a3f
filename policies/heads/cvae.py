"""The CVAE head: a chunk from context and a latent style (ACT, Zhao et al. 2023).

In training an encoder sees the chunk and describes it as a Gaussian over the style; the decoder makes the chunk of a
draw of it. Loss: L1 plus beta times the divergence from a standard Gaussian. In use the style is zero, so one
observation has one chunk: as with regression, two ways become one, though noise in demonstrations need not.

Small here: residual networks where ACT has transformers. The encoder sees the whole context, ACT's the joints alone.

Shapes: B batch, T steps of a chunk, D action dimension, N context tokens, W token width, Z style.
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


@HEADS.register("cvae")
@dataclass(frozen=True)
class CvaeConfig(HeadConfig):
    """Sizes of the head."""

    name: str = "cvae"
    hidden: int = option(384, "width", at_least(1))
    blocks: int = option(4, "residual blocks of the decoder", at_least(1))
    inner: int = option(0, INNER, at_least(0))
    encoder_blocks: int = option(1, "residual blocks of the encoder", at_least(1))
    style: int = option(32, "numbers of the style", at_least(1))
    beta: float = option(10.0, "weight of the divergence", at_least(0.0))

    def build(self, shape: HeadShape) -> "CvaeHead":
        return CvaeHead(self, shape)


class CvaeHead(Head):
    """Encoder of chunks, decoder of styles, both given context tokens."""

    draws_chunks = False  # the style of acting is always zero

    def __init__(self, config: CvaeConfig, shape: HeadShape):
        super().__init__()
        self.config, self.shape = config, shape
        values = shape.chunk * shape.action_dim
        self.encoder = ChunkNetwork(shape, config.hidden, config.encoder_blocks, config.inner, values, 2 * config.style)
        self.decoder = ChunkNetwork(shape, config.hidden, config.blocks, config.inner, inputs=config.style)

    def describe(self, actions: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance (B, Z) of the style of actions (B, T, D)."""
        mean, log_variance = self.encoder(self.encoder.encode(context), actions.flatten(1)).chunk(2, -1)
        return mean, log_variance

    def decode(self, context: Tensor, style: Tensor) -> Tensor:
        """context (B, N, W), style (B, Z) -> (B, T, D)."""
        chunk = self.decoder(self.decoder.encode(context), style)
        return chunk.unflatten(1, (self.shape.chunk, self.shape.action_dim))

    def loss(self, actions: Tensor, valid: Tensor, context: Tensor, generator: torch.Generator) -> Tensor:
        mean, log_variance = self.describe(actions * valid[..., None], context)  # the encoder sees what is imitated
        drawn = torch.randn(mean.shape, generator=generator).to(mean)
        chunk = self.decode(context, mean + (0.5 * log_variance).exp() * drawn)
        divergence = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(-1)
        return valid_mean((chunk - actions).abs().mean(-1), valid) + self.config.beta * divergence * valid.any(1)

    @torch.no_grad()
    def sample(
        self, context: Tensor, generator: torch.Generator, unconditional: Tensor | None = None, guidance: float = 1.0
    ) -> Tensor:
        guided = Guided.of(context, unconditional, guidance)
        return guided(
            lambda style: self.decode(guided.contexts, style), context.new_zeros(len(context), self.config.style)
        )
