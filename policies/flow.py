"""The action expert: flow matching over action chunks (pi-0, Black et al. 2024).

Departures: optimal-transport paths run from noise at time 0 to actions at time 1, as in Lipman et
al. 2023 (pi-0 prints the same, pi*-0.6 the reverse), and the time is drawn from Beta(1, 1.5) towards
the noisy end.

Shapes: B batch, T steps of a chunk, D action dimension, N context tokens, W token width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class FlowConfig:
    """Sizes of the action expert."""

    width: int = 192
    layers: int = 4
    heads: int = 6
    euler_steps: int = 8
    noise_samples: int = 2  # (time, noise) pairs a training sample is used with


class Attention(nn.Module):
    """Multi-head attention from x to y."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        q = self.query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.key_value(y).unflatten(-1, (2 * self.heads, -1)).transpose(1, 2).chunk(2, 1)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class ExpertBlock(nn.Module):
    """Self-attention over the chunk, cross-attention to the context, feed-forward; all time-modulated."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in range(3))
        self.context_norm = nn.LayerNorm(width)
        self.self_attention = Attention(width, heads)
        self.cross_attention = Attention(width, heads)
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, context: Tensor, time: Tensor) -> Tensor:
        s1, b1, s2, b2, s3, b3 = self.modulation(time)[:, None].chunk(6, -1)
        y = self.norms[0](x) * (1 + s1) + b1
        x = x + self.self_attention(y, y)
        x = x + self.cross_attention(self.norms[1](x) * (1 + s2) + b2, self.context_norm(context))
        return x + self.feed_forward(self.norms[2](x) * (1 + s3) + b3)


class FlowExpert(nn.Module):
    """Velocity field of a noisy chunk given context tokens, its training loss and its sampler."""

    def __init__(self, config: FlowConfig, chunk: int, action_dim: int):
        super().__init__()
        self.config, self.shape = config, (chunk, action_dim)
        self.embed = nn.Linear(action_dim, config.width)
        self.place = nn.Parameter(torch.randn(chunk, config.width) * 0.02)
        self.time = nn.Sequential(nn.Linear(64, config.width), nn.SiLU(), nn.Linear(config.width, config.width))
        self.blocks = nn.ModuleList(ExpertBlock(config.width, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.out = nn.Linear(config.width, action_dim)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def velocity(self, noisy: Tensor, time: Tensor, context: Tensor) -> Tensor:
        """noisy (B, T, D), time (B,) in 0..1, context (B, N, W) -> (B, T, D)."""
        x = self.embed(noisy) + self.place
        t = self.time(_fourier(time))
        for block in self.blocks:
            x = block(x, context, t)
        return self.out(self.norm(x))

    def loss(self, actions: Tensor, valid: Tensor, context: Tensor, generator: torch.Generator) -> Tensor:
        """(B,) flow-matching loss of each sample.

        actions (B, T, D) normalized, valid (B, T) False where a step must not be imitated.
        """
        n = self.config.noise_samples
        actions, valid, context = (x.repeat_interleave(n, 0) for x in (actions, valid, context))
        noise = torch.randn(actions.shape, generator=generator)
        time = 1 - torch.rand(len(actions), generator=generator) ** (1 / 1.5)  # Beta(1, 1.5)
        noisy = noise + time[:, None, None] * (actions - noise)
        error = (self.velocity(noisy, time, context) - (actions - noise)).square().mean(-1)
        per_sample = (error * valid).sum(1) / valid.sum(1).clamp(min=1)
        return per_sample.unflatten(0, (-1, n)).mean(1)

    @torch.no_grad()
    def sample(self, context: Tensor, noise: Tensor, unconditional: Tensor | None = None, guidance: float = 1.0) -> Tensor:
        """noise (B, T, D) -> chunk (B, T, D), by Euler steps along the velocity field.

        With guidance beta != 1 the velocity is v_u + beta (v_c - v_u), v_u from `unconditional`
        context (classifier-free guidance; beta = 0 is the unconditional policy).
        """
        x, step = noise, 1.0 / self.config.euler_steps
        for i in range(self.config.euler_steps):
            time = torch.full((len(x),), i * step)
            v = self.velocity(x, time, context)
            if guidance != 1.0:
                v_u = self.velocity(x, time, unconditional)
                v = v_u + guidance * (v - v_u)
            x = x + step * v
        return x


def _fourier(time: Tensor) -> Tensor:
    """(B,) -> (B, 64) sines and cosines of the flow time."""
    frequencies = torch.exp(torch.linspace(0.0, 6.0, 32)) * torch.pi / 2
    angles = time[:, None] * frequencies.to(time)
    return torch.cat([angles.sin(), angles.cos()], -1)
