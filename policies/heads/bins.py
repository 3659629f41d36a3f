"""The bins head: every number of a chunk is one of 256 tokens (RT-1, Brohan et al. 2022; OpenVLA, Kim et al. 2024).

A dimension is cut evenly between its 1 % and 99 % quantiles, and cross-entropy is learned. `autoregressive` as OpenVLA
writes: each token sees those before it, steps first to last, and two ways stay two. `parallel` as RT-1 writes: all
tokens in one pass, each for itself, so that a chunk may be put together of two ways. Both take the likeliest token;
here tokens are drawn (temperature 0 takes the likeliest).

Small here: a transformer of two layers; quantiles are of normalized actions. Three options depart from the papers, for
few demonstrations: `smoothing` teaches the neighbours of a bin too, as bins have an order that cross-entropy does not
know (Imani & White 2018); `choice=median` takes a token's median, what an L1 loss would find, as the likeliest of 256
bins that are all unlikely jumps about; `distortion` keeps what is written from being a copy of what was written before.

Shapes: B batch, T steps of a chunk, D action dimension, N context tokens, W token width, L = T D tokens, V bins.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from policies.core.attention import HEAD_WIDTH
from policies.core.parts import Head, HeadConfig, HeadShape
from policies.core.registry import HEADS
from policies.heads.decoder import TokenDecoder, distorted, drawing
from policies.heads.network import Guided
from policies.heads.valid_steps import valid_mean
from sim.core.errors import UserError
from sim.core.options import PROBABILITY, at_least, multiple_of, one_of, option

AUTOREGRESSIVE, PARALLEL = "autoregressive", "parallel"
DRAWN, MEDIAN = "drawn", "median"
QUANTILES = (0.01, 0.99)


@HEADS.register("bins")
@dataclass(frozen=True)
class BinsConfig(HeadConfig):
    """Sizes of the head."""

    name: str = "bins"
    bins: int = option(256, "of each dimension", at_least(2))
    decoding: str = option(AUTOREGRESSIVE, "of tokens", one_of(AUTOREGRESSIVE, PARALLEL))
    choice: str = option(DRAWN, "of a token: drawn, or the median", one_of(DRAWN, MEDIAN))
    temperature: float = option(1.0, "of drawn tokens; 0: the likeliest", at_least(0.0))
    distortion: float = option(
        0.0, "largest share of a sample's tokens that those after them read wrong in training", PROBABILITY
    )
    smoothing: float = option(0.0, "standard deviation, in bins, of what is taught; 0: one bin", at_least(0.0))
    width: int = option(128, "of the transformer", multiple_of(HEAD_WIDTH, HEAD_WIDTH, 4096))
    layers: int = option(2, "of the transformer", at_least(1))

    def __post_init__(self) -> None:
        if self.distortion and self.decoding == PARALLEL:
            raise UserError(
                f"policy.head.distortion={self.distortion} policy.head.decoding={PARALLEL}: no token is read there; "
                "expected distortion=0"
            )

    def build(self, shape: HeadShape) -> "BinsHead":
        return BinsHead(self, shape)


class BinsHead(Head):
    """Bins of a chunk given context tokens."""

    low: Tensor
    high: Tensor

    def __init__(self, config: BinsConfig, shape: HeadShape):
        super().__init__()
        self.config, self.shape = config, shape
        self.draws_chunks = config.choice == DRAWN and config.temperature > 0
        self.decoder = TokenDecoder(shape, config.bins, shape.chunk * shape.action_dim, config.width, config.layers)
        self.register_buffer("low", torch.full((shape.action_dim,), -3.0))
        self.register_buffer("high", torch.full((shape.action_dim,), 3.0))

    def fit(self, actions: Tensor, valid: Tensor) -> None:
        low, high = actions[valid].quantile(torch.tensor(QUANTILES, dtype=actions.dtype), dim=0)
        self.low.copy_(low)
        self.high.copy_(torch.maximum(high, low + 1e-3))

    def tokens(self, actions: Tensor) -> Tensor:
        """actions (B, T, D) -> int (B, L)."""
        share = (actions - self.low) / (self.high - self.low)
        return (share * self.config.bins).floor().long().clamp(0, self.config.bins - 1).flatten(1)

    def actions(self, tokens: Tensor) -> Tensor:
        """int (B, L) -> (B, T, D), the middles of bins."""
        share = (tokens.unflatten(1, (self.shape.chunk, self.shape.action_dim)) + 0.5) / self.config.bins
        return self.low + share * (self.high - self.low)

    def loss(self, actions: Tensor, valid: Tensor, context: Tensor, generator: torch.Generator) -> Tensor:
        tokens = self.tokens(actions)
        if self.config.decoding == PARALLEL:
            logits = self.decoder.at_once(context)
        else:
            logits = self.decoder(context, distorted(tokens, self.config.distortion, self.config.bins, generator))
        error = smoothed_cross_entropy(logits, tokens, self.config.smoothing)
        return valid_mean(error.unflatten(1, actions.shape[1:]).mean(-1), valid)

    @torch.no_grad()
    def sample(
        self, context: Tensor, generator: torch.Generator, unconditional: Tensor | None = None, guidance: float = 1.0
    ) -> Tensor:
        guided = Guided.of(context, unconditional, guidance)
        median = self.config.choice == MEDIAN
        choose = medians(guided) if median else drawing(guided, self.config.temperature, generator)
        if self.config.decoding == PARALLEL:
            return self.actions(choose(self.decoder.at_once(guided.contexts)))
        return self.actions(self.decoder.write(guided.contexts, choose))


def smoothed_cross_entropy(logits: Tensor, tokens: Tensor, deviation: float) -> Tensor:
    """Return (B, L), of logits (B, L, V) and a Gaussian around each token (B, L); deviation 0: of the token alone."""
    if deviation == 0:
        return F.cross_entropy(logits.transpose(1, 2), tokens, reduction="none")
    steps = (torch.arange(logits.shape[-1], device=tokens.device) - tokens[..., None]) / deviation
    taught = (-0.5 * steps.square()).softmax(-1)
    return F.cross_entropy(logits.transpose(1, 2), taught.transpose(1, 2), reduction="none")


def medians(guided: Guided) -> Callable[[Tensor], Tensor]:
    """Return what takes the medians (B, ...) of the guided softmax of logits (C, ..., V) over ordered tokens."""

    def choose(logits: Tensor) -> Tensor:
        below = guided.combine(logits).softmax(-1).cumsum(-1) < 0.5
        return below.sum(-1).clamp(max=logits.shape[-1] - 1)

    return choose
