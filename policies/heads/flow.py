"""The flow head: flow matching over action chunks (pi-0, Black et al. 2024).

As there, optimal-transport paths (Lipman et al. 2023) run from noise at time 0 to actions at time 1 (pi*-0.6 prints the
reverse), and the time is drawn from Beta(1, 1.5), towards the noisy end. Departures: times are not cut off at 0.999,
and a residual network finds the velocity, no transformer.

With `joins` the head is trained with the first steps of a chunk given (Ren, Black et al. 2025, "Training-Time Action
Conditioning for Efficient Real-Time Chunking"): they carry their true actions, as at flow time 1, and only the rest is
learned; how many is drawn for every sample. Chunks then go on from the commands that are under way while it decides.

With `exit_below`, which `policies.exit_early` chooses, a path is left as soon as where it will end has settled.

Shapes: B batch, T steps of a chunk, D action dimension, N context tokens, W token width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from policies.core.parts import Head, HeadConfig, HeadShape
from policies.core.registry import HEADS
from policies.heads.early_exit import PredictedEnds
from policies.heads.valid_steps import held, valid_mean
from sim.core.errors import UserError
from sim.core.options import at_least, option

INNER = "units between the two maps of a residual block; 0: twice the width"


@HEADS.register("flow")
@dataclass(frozen=True)
class FlowConfig(HeadConfig):
    """Sizes of the head."""

    name: str = "flow"
    hidden: int = option(384, "width", at_least(1))
    blocks: int = option(4, "residual blocks", at_least(1))
    inner: int = option(0, INNER, at_least(0))
    euler_steps: int = option(8, "from noise to actions", at_least(1))
    exit_below: float = option(
        0.0, "by how much the end in sight may move in a step to be the chunk, std of actions; 0: all steps",
        at_least(0.0),
    )  # fmt: skip
    noise_samples: int = option(4, "(time, noise) pairs that a training sample is used with", at_least(1))
    joins: bool = option(False, "chunks start from commands, up to half their steps given; false: from measured joints")

    def build(self, shape: HeadShape) -> "FlowHead":
        if self.joins and shape.chunk < 2:
            raise UserError(
                f"policy.head.joins=true policy.chunk={shape.chunk}: half the steps of a chunk may be given, that is "
                "none; expected policy.chunk=2 or more, or policy.head.joins=false"
            )
        return FlowHead(self, shape)


class ResidualBlock(nn.Module):
    """Norm, two linear maps with time and context added between them, a shortcut."""

    def __init__(self, hidden: int, inner: int):
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.up = nn.Linear(hidden, inner)
        self.down = nn.Linear(inner, hidden)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        return x + self.down(F.silu(self.up(self.norm(x)) + condition))


class FlowHead(Head):
    """Velocity field of a noisy chunk given context tokens, its training loss and its sampler.

    The field is a residual network on the whole chunk, as Octo's diffusion head, where pi-0 has a
    transformer: on two CPU cores that is a tenth of the time at chunks this short.
    """

    def __init__(self, config: FlowConfig, shape: HeadShape):
        super().__init__()
        self.config, self.shape = config, shape
        values, inner = shape.chunk * shape.action_dim, config.inner or 2 * config.hidden
        self.embed = nn.Linear(values, config.hidden)
        self.time = nn.Sequential(nn.Linear(64, config.hidden), nn.SiLU(), nn.Linear(config.hidden, config.hidden))
        self.condition = nn.Linear(config.hidden, inner)
        self.context = nn.Sequential(
            nn.Linear(shape.context_tokens * shape.width, config.hidden),
            nn.SiLU(),
            nn.Linear(config.hidden, config.hidden),
        )
        self.blocks = nn.ModuleList(ResidualBlock(config.hidden, inner) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(config.hidden)
        self.out = nn.Linear(config.hidden, values)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.given_steps = shape.chunk // 2 if config.joins else 0
        if self.given_steps:
            self.given = nn.Embedding(self.given_steps + 1, config.hidden)  # of how many steps are given
            nn.init.zeros_(self.given.weight)

    def encode(self, context: Tensor) -> Tensor:
        """context (B, N, W) -> (B, hidden), computed once a chunk."""
        return self.context(context.flatten(1))

    def conditions(self, time: Tensor, encoded: Tensor) -> Tensor:
        """time in 0..1 (B,), or (S, 1) for all of S times at once, encoded context (B, hidden) -> (.., B, inner)."""
        return self.condition(F.silu(encoded + self.time(_fourier(time))))

    def velocity(self, noisy: Tensor, condition: Tensor, encoded: Tensor) -> Tensor:
        """noisy (B, T, D), condition of the time (B, inner), encoded context (B, hidden) -> (B, T, D)."""
        x = self.embed(noisy.flatten(1)) + encoded
        for block in self.blocks:
            x = block(x, condition)
        return self.out(self.norm(x)).unflatten(1, noisy.shape[1:])

    def loss(self, actions: Tensor, valid: Tensor, context: Tensor, generator: torch.Generator) -> Tensor:
        n = self.config.noise_samples
        repeated = (held(actions, valid), valid, self.encode(context))
        actions, valid, encoded = (x.repeat_interleave(n, 0) for x in repeated)
        noise = torch.randn(actions.shape, generator=generator).to(actions)
        time = 1 - torch.rand(len(actions), generator=generator).to(actions) ** (1 / 1.5)  # Beta(1, 1.5)
        noisy = noise + time[:, None, None] * (actions - noise)
        if self.given_steps:
            steps = self._draw_given(len(actions), generator).to(actions.device)
            given = torch.arange(self.shape.chunk, device=actions.device) < steps[:, None]
            noisy = torch.where(given[..., None], actions, noisy)
            valid, encoded = valid & ~given, encoded + self.given(steps)
        found = self.velocity(noisy, self.conditions(time, encoded), encoded)
        error = (found - (actions - noise)).square().mean(-1)
        return valid_mean(error, valid).unflatten(0, (-1, n)).mean(1)

    def _draw_given(self, samples: int, generator: torch.Generator) -> Tensor:
        """Draw how many steps are given (samples,): none in half of the cases, else any number."""
        some = torch.rand(samples, generator=generator) < 0.5
        return some * torch.randint(1, self.given_steps + 1, (samples,), generator=generator)

    def sample(
        self, context: Tensor, generator: torch.Generator, unconditional: Tensor | None = None, guidance: float = 1.0,
        given: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        shape = (len(context), self.shape.chunk, self.shape.action_dim)
        noise = torch.randn(shape, generator=generator).to(context)
        return self.integrate(context, noise, unconditional, guidance, given)

    def from_noise(self, context: Tensor, noise: Tensor, given: Tensor | None = None) -> Tensor:
        return self.integrate(context, noise, given=given)

    @torch.no_grad()
    def integrate(
        self, context: Tensor, noise: Tensor, unconditional: Tensor | None = None, guidance: float = 1.0,
        given: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Return the chunk (B, T, D) that noise (B, T, D) flows to, by Euler steps along the velocity field.

        With guidance beta != 1 the velocity is v_u + beta (v_c - v_u), v_u from `unconditional`
        context (classifier-free guidance; beta = 0 is the unconditional policy). given (B, t, D): the first
        steps, which stay as they are. With `exit_below` each sample leaves its path on its own.
        """
        x, step = _begun_with(given, noise), 1.0 / self.config.euler_steps
        # Both in one pass: a small network's time is that of reading its weights.
        contexts = [context] if unconditional is None or guidance == 1.0 else [context, unconditional]
        encoded = self.encode(torch.cat(contexts))
        if self.given_steps:
            encoded = encoded + self.given.weight[0 if given is None else given.shape[1]]
        times = torch.arange(self.config.euler_steps, device=x.device)[:, None] * step
        ends = PredictedEnds(self.config.exit_below, x) if self.config.exit_below else None
        for i, condition in enumerate(self.conditions(times, encoded)):  # what no step changes is read once
            v, *v_u = self.velocity(torch.cat([x] * len(contexts)), condition, encoded).chunk(len(contexts))
            if v_u:
                v = v_u[0] + guidance * (v - v_u[0])
            if ends and ends.settle(_begun_with(given, x + (1 - i * step) * v)):
                break
            x = _begun_with(given, x + step * v)
        return ends.chunk if ends else x


def _begun_with(given: Tensor | None, chunk: Tensor) -> Tensor:
    """Return a chunk (B, T, D) whose first steps are those of `given` (B, t, D)."""
    return chunk if given is None else torch.cat([given, chunk[:, given.shape[1] :]], 1)


def _fourier(time: Tensor) -> Tensor:
    """(...) -> (..., 64) sines and cosines of the flow time."""
    frequencies = torch.exp(torch.linspace(0.0, 6.0, 32, device=time.device)) * torch.pi / 2
    angles = time[..., None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], -1)
