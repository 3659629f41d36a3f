"""A state-space prefix: words, images' cells and state read one after the other into a state of fixed size.

Selective state spaces (Mamba, Gu & Dao 2023, which RoboMamba, Liu et al. 2024, makes a policy of), in the form of
Mamba-2 (Dao & Gu 2024): how much of the state a token keeps, what it writes and what it reads all depend on the
token, and every head forgets at one rate. A prefix is short, so that the scan is computed as one product of matrices
over all pairs of tokens, which is exact.

Small here: no short convolution before the scan.

Shapes: B batch, L tokens, H heads, P channels of a head, S numbers of state a channel, W token width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from policies.core.attention import HEAD_WIDTH
from policies.core.inputs import Inputs
from policies.core.parts import LanguageConfig, VisionConfig
from policies.core.registry import FUSIONS
from policies.core.spec import PolicySpec
from policies.fusion.token_fusion import ReadoutConfig, ReadoutFusion
from policies.fusion.tokens import IMAGES, KINDS, STATE, WORDS, in_a_row, token_readers
from sim.core.options import EACH_ONCE, NOT_EMPTY, at_least, one_of, option

STEPS = 1e-2, 1.0  # of time a token, from the first head to the last: they forget within 100 tokens and within one


@FUSIONS.register("state_space")
@dataclass(frozen=True)
class StateSpaceConfig(ReadoutConfig):
    """What is read, and how much is remembered."""

    name: str = "state_space"
    reads: tuple[str, ...] = option(
        (WORDS, IMAGES, STATE), "tokens, first to last: later ones know of earlier ones",
        NOT_EMPTY, EACH_ONCE, one_of(*KINDS),
    )  # fmt: skip
    memory: int = option(16, "numbers of state for each channel", at_least(1))

    def build(self, spec: PolicySpec, vision: VisionConfig | None, language: LanguageConfig | None) -> "StateSpace":
        return StateSpace(self, spec, *self.encoders(vision, language))


def selective_scan(x: Tensor, decay: Tensor, write: Tensor, read: Tensor) -> Tensor:
    """Return what each token reads (B, L, H, P): of state h_t = exp(decay_t) h_{t-1} + write_t x_t, read_t . h_t.

    x (B, L, H, P); decay (B, L, H), zero or less; write and read (B, L, S), the same for all heads.
    """
    passed = decay.cumsum(1)
    kept = (passed[:, :, None] - passed[:, None]).permute(0, 3, 1, 2)  # (B, H, L now, L then)
    later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
    weights = kept.masked_fill(later, -torch.inf).exp() * (read @ write.transpose(1, 2))[:, None]
    return torch.einsum("bhts,bshp->bthp", weights, x)


class Block(nn.Module):
    """A gated selective scan with norm and shortcut."""

    def __init__(self, width: int, memory: int):
        super().__init__()
        self.sizes = (2 * width, 2 * width, memory, memory, 2 * width // HEAD_WIDTH)
        heads = self.sizes[-1]
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(2 * width)
        self.project, self.mix = nn.Linear(width, sum(self.sizes), bias=False), nn.Linear(2 * width, width)
        first, last = (torch.tensor(one).expm1().log() for one in STEPS)
        self.step = nn.Parameter(torch.linspace(first, last, heads))
        self.rate = nn.Parameter(torch.zeros(heads))
        self.shortcut = nn.Parameter(torch.ones(heads, 1))

    def forward(self, tokens: Tensor, there: Tensor) -> Tensor:
        """tokens (B, L, W), there bool (B, L): a token that is not there neither writes nor forgets."""
        gate, x, write, read, step = self.project(self.before(tokens)).split(self.sizes, -1)
        step = F.softplus(step + self.step) * there[..., None]  # (B, L, H)
        x = x.unflatten(-1, (-1, HEAD_WIDTH))
        found = selective_scan(x * step[..., None], -step * self.rate.exp(), write, read) + self.shortcut * x
        return tokens + self.mix(self.after(found.flatten(2)) * F.silu(gate))


class StateSpace(ReadoutFusion):
    """The prefix, read in order; the readouts read last."""

    def __init__(self, config: StateSpaceConfig, spec: PolicySpec, vision: VisionConfig, language: LanguageConfig):
        super().__init__(config, spec, vision, language)
        readers = token_readers(spec, vision, language, config.width)
        self.readers = nn.ModuleDict({kind: readers[kind] for kind in config.reads})
        self.blocks = nn.ModuleList(Block(config.width, config.memory) for _ in range(config.layers))

    def gather(self, inputs: Inputs) -> Tensor:
        x, there = self.with_readouts(*in_a_row(self.readers, inputs))
        for block in self.blocks:
            x = block(x, there)
        return self.read_out(x)
