"""The diffusion head: denoising of action chunks (Diffusion Policy, Chi et al. 2023; Octo, 2024).

Trained as DDPM (Ho et al. 2020) on chunks whose share of signal follows the squared cosine schedule (Nichol &
Dhariwal 2021). Sampled by DDIM without new noise (Song et al. 2021), in fewer steps.

Departure: the network finds the velocity, sqrt(s) noise - sqrt(1 - s) chunk with the share s of signal (Salimans & Ho
2022), where both papers find the noise. Where a chunk is nearly all noise, the noise alone says nothing of the chunk:
sampling began with a direction drawn at random, see EXPERIMENTS.md. `predicts=noise` is the papers'.
Small here: the residual network on the whole chunk is Octo's; Diffusion Policy has a U-Net or a transformer.

Shapes: B batch, T steps of a chunk, D action dimension, N context tokens, W token width, H hidden width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from policies.core.parts import Head, HeadConfig, HeadShape
from policies.core.registry import HEADS
from policies.heads.flow import INNER
from policies.heads.network import Denoiser, Guided
from policies.heads.valid_steps import held, valid_mean
from sim.core.errors import UserError
from sim.core.options import above, at_least, one_of, option


@HEADS.register("diffusion")
@dataclass(frozen=True)
class DiffusionConfig(HeadConfig):
    """Sizes of the head."""

    name: str = "diffusion"
    hidden: int = option(384, "width", at_least(1))
    blocks: int = option(4, "residual blocks", at_least(1))
    inner: int = option(0, INNER, at_least(0))
    steps: int = option(100, "noise levels of training", at_least(2))
    sample_steps: int = option(10, "of them that a chunk is sampled with", at_least(1))
    noise_samples: int = option(4, "(level, noise) pairs that a training sample is used with", at_least(1))
    predicts: str = option("velocity", "what the network finds", one_of("velocity", "noise"))
    clip: float = option(5.0, "standard deviations within which actions lie", above(0.0))

    def __post_init__(self) -> None:
        if self.sample_steps > self.steps:
            raise UserError(
                f"policy.head.sample_steps={self.sample_steps}, expected 1 to policy.head.steps, which is {self.steps}"
            )

    def build(self, shape: HeadShape) -> "DiffusionHead":
        return DiffusionHead(self, shape)


class DiffusionHead(Head):
    """Velocity of a noisy chunk given context tokens, its training loss and its sampler."""

    signal: Tensor

    def __init__(self, config: DiffusionConfig, shape: HeadShape):
        super().__init__()
        self.config, self.shape = config, shape
        self.denoiser = Denoiser(shape, config.hidden, config.blocks, config.inner, config.steps)
        self.register_buffer("signal", squared_cosine(config.steps), persistent=False)

    def found(self, noisy: Tensor, level: Tensor, encoded: Tensor) -> Tensor:
        """noisy (B, T, D), level int (B,), encoded context (B, H) -> velocity, or noise, (B, T, D)."""
        return self.denoiser(noisy, level, encoded)

    def loss(self, actions: Tensor, valid: Tensor, context: Tensor, generator: torch.Generator) -> Tensor:
        n, encoded = self.config.noise_samples, self.denoiser.encode(context)
        actions, valid, encoded = (x.repeat_interleave(n, 0) for x in (held(actions, valid), valid, encoded))
        noise = torch.randn(actions.shape, generator=generator).to(actions)
        level = torch.randint(self.config.steps, (len(actions),), generator=generator).to(actions.device)
        signal = self.signal[level, None, None]
        noisy = signal.sqrt() * actions + (1 - signal).sqrt() * noise
        velocity = signal.sqrt() * noise - (1 - signal).sqrt() * actions
        wanted = velocity if self.config.predicts == "velocity" else noise
        error = (self.found(noisy, level, encoded) - wanted).square().mean(-1)
        return valid_mean(error, valid).unflatten(0, (-1, n)).mean(1)

    def sample(
        self, context: Tensor, generator: torch.Generator, unconditional: Tensor | None = None, guidance: float = 1.0
    ) -> Tensor:
        shape = (len(context), self.shape.chunk, self.shape.action_dim)
        noise = torch.randn(shape, generator=generator).to(context)
        return self.denoise(context, noise, unconditional, guidance)

    @torch.no_grad()
    def denoise(
        self, context: Tensor, noise: Tensor, unconditional: Tensor | None = None, guidance: float = 1.0
    ) -> Tensor:
        """Return the chunk (B, T, D) that DDIM makes of noise (B, T, D)."""
        guided, x = Guided.of(context, unconditional, guidance), noise
        encoded = self.denoiser.encode(guided.contexts)
        levels = self._levels()
        for level, after in zip(levels, [*levels[1:], None], strict=True):
            now = self.signal[level]
            then = self.signal[after] if after is not None else torch.ones(())  # the last step ends without noise
            found = guided(lambda x, k: self.found(x, k, encoded), x, torch.full((len(x),), level, device=x.device))
            clean = self._clean(x, now, found).clamp(-self.config.clip, self.config.clip)
            noise = (x - now.sqrt() * clean) / (1 - now).sqrt()
            x = then.sqrt() * clean + (1 - then).sqrt() * noise
        return x

    def _levels(self) -> list[int]:
        """Return the noise levels that are sampled, falling: evenly spread ones, or all."""
        steps, sampled = self.config.steps, self.config.sample_steps
        if sampled == steps:
            return list(range(steps - 1, -1, -1))
        return torch.linspace(steps - 1, 0, sampled + 1).round().long().tolist()[:-1]

    def _clean(self, x: Tensor, signal: Tensor, found: Tensor) -> Tensor:
        """Return the chunk without its noise, by what was found in it."""
        if self.config.predicts == "velocity":
            return signal.sqrt() * x - (1 - signal).sqrt() * found
        return (x - (1 - signal).sqrt() * found) / signal.sqrt()


def squared_cosine(steps: int) -> Tensor:
    """Return the share of signal (steps,) left at each noise level; no step takes more than 0.999 of the rest."""
    time = torch.arange(steps + 1, dtype=torch.float64) / steps
    left = torch.cos((time + 0.008) / 1.008 * torch.pi / 2).square()
    return (left[1:] / left[:-1]).clamp(min=0.001).cumprod(0).float()
