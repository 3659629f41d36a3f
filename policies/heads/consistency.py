"""The consistency head: noise to a chunk in one step (Song et al. 2023; for policies, Prasad et al. 2024).

Trained without a teacher by the improved recipe (Song & Dhariwal 2024): from a chunk with noise, and from the same
chunk with the same noise a little weaker, the network shall find the same; there is no average of weights between
them, the distance is the pseudo-Huber one, weaker noise counts more. Without noise it returns what it is given.

Small here: the residual network on the whole chunk of Octo; the noise levels are few from the beginning.

Shapes: B batch, T steps of a chunk, D action dimension, N context tokens, W token width, H hidden width, K levels.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from policies.core.parts import Head, HeadConfig, HeadShape
from policies.core.registry import HEADS
from policies.heads.flow import INNER
from policies.heads.network import Denoiser, Guided
from policies.heads.valid_steps import held, valid_mean
from sim.core.options import above, at_least, option

LEAST_NOISE = 0.02  # standard deviations of actions; below it nothing is learned
RHO = 7.0  # levels are closer where noise is weak (Karras et al. 2022)
LEVEL_MEAN, LEVEL_STD = -1.1, 2.0  # of the logarithm of the noise that training draws


@HEADS.register("consistency")
@dataclass(frozen=True)
class ConsistencyConfig(HeadConfig):
    """Sizes of the head."""

    name: str = "consistency"
    hidden: int = option(384, "width", at_least(1))
    blocks: int = option(4, "residual blocks", at_least(1))
    inner: int = option(0, INNER, at_least(0))
    levels: int = option(20, "of noise", at_least(2))
    noise: float = option(20.0, "the strongest, in standard deviations of actions", above(LEAST_NOISE))
    noise_samples: int = option(4, "(level, noise) pairs that a training sample is used with", at_least(1))

    def build(self, shape: HeadShape) -> "ConsistencyHead":
        return ConsistencyHead(self, shape)


class ConsistencyHead(Head):
    """What a noisy chunk was without noise, given context tokens."""

    sigma: Tensor
    chances: Tensor

    def __init__(self, config: ConsistencyConfig, shape: HeadShape):
        super().__init__()
        self.config, self.shape = config, shape
        self.denoiser = Denoiser(shape, config.hidden, config.blocks, config.inner, config.levels)
        sigma = noise_levels(config.levels, config.noise)
        self.register_buffer("sigma", sigma, persistent=False)
        self.register_buffer("chances", level_chances(sigma), persistent=False)
        self.huber = 0.00054 * math.sqrt(shape.chunk * shape.action_dim)

    def clean(self, noisy: Tensor, level: Tensor, encoded: Tensor) -> Tensor:
        """noisy (B, T, D), level int (B,), encoded context (B, H) -> (B, T, D)."""
        sigma = self.sigma[level, None, None]
        beyond = sigma - LEAST_NOISE
        whole = (1 + sigma.square()).sqrt()
        found = self.denoiser(noisy / whole, level, encoded)
        return noisy / (1 + beyond.square()) + found * beyond / whole

    def loss(self, actions: Tensor, valid: Tensor, context: Tensor, generator: torch.Generator) -> Tensor:
        n, encoded = self.config.noise_samples, self.denoiser.encode(context)
        actions, valid, encoded = (x.repeat_interleave(n, 0) for x in (held(actions, valid), valid, encoded))
        noise = torch.randn(actions.shape, generator=generator).to(actions)
        drawn = torch.multinomial(self.chances.cpu(), len(actions), replacement=True, generator=generator)
        lower = drawn.to(actions.device)
        weak, strong = self.sigma[lower, None, None], self.sigma[lower + 1, None, None]
        with torch.no_grad():
            wanted = self.clean(actions + weak * noise, lower, encoded)
        found = self.clean(actions + strong * noise, lower + 1, encoded)
        away = valid_mean((found - wanted).square().sum(-1), valid) * valid.shape[1]
        distance = away / ((away + self.huber**2).sqrt() + self.huber)  # sqrt(a + h^2) - h, exact at 0
        return (distance / (strong - weak)[:, 0, 0]).unflatten(0, (-1, n)).mean(1)

    @torch.no_grad()
    def sample(
        self, context: Tensor, generator: torch.Generator, unconditional: Tensor | None = None, guidance: float = 1.0
    ) -> Tensor:
        guided = Guided.of(context, unconditional, guidance)
        encoded = self.denoiser.encode(guided.contexts)
        noise = torch.randn((len(context), self.shape.chunk, self.shape.action_dim), generator=generator).to(context)
        level = torch.full((len(context),), self.config.levels - 1, device=context.device)
        return guided(lambda x, k: self.clean(x, k, encoded), self.config.noise * noise, level)

    def from_noise(self, context: Tensor, noise: Tensor, given: Tensor | None = None) -> Tensor:
        level = torch.full((len(context),), self.config.levels - 1, device=context.device)
        return self.clean(self.config.noise * noise, level, self.denoiser.encode(context))


def noise_levels(levels: int, strongest: float) -> Tensor:
    """Return the noise (K,) of every level, weakest first (Karras et al. 2022, eq. 5)."""
    low, high = LEAST_NOISE ** (1 / RHO), strongest ** (1 / RHO)
    return (low + torch.linspace(0, 1, levels, dtype=torch.float64) * (high - low)).pow(RHO).float()


def level_chances(sigma: Tensor) -> Tensor:
    """Return how often each pair of neighbouring levels is drawn, (K - 1,): log-normal."""
    cumulative = torch.special.ndtr((sigma.log() - LEVEL_MEAN) / LEVEL_STD)
    return cumulative.diff() / cumulative.diff().sum()
