"""The FAST head: a chunk as a few compressed tokens (pi-0-FAST, Pertsch et al. 2025).

Each dimension goes through the discrete cosine transform over the chunk; coefficients are scaled and rounded, written
low frequencies first, all dimensions of one frequency together, and byte-pair coding, trained on the actions at hand,
makes a few tokens of them. A transformer writes these one after the other. Smooth motion has few tokens.

Small here: a transformer of two layers; chunks are normalized by step and dimension, not by quantiles of a dimension.
The transform mixes steps: those that are not to be imitated repeat the last that is. A written sequence that is too
short has no higher frequencies.

Shapes: B batch, T steps of a chunk, D action dimension, N context tokens, W token width, L tokens, V vocabulary.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from policies.core.attention import HEAD_WIDTH
from policies.core.parts import Head, HeadConfig, HeadShape
from policies.core.registry import HEADS
from policies.heads.byte_pairs import PAD, encode, expand, learn_merges
from policies.heads.decoder import TokenDecoder, distorted, drawing
from policies.heads.network import Guided
from policies.heads.valid_steps import held
from sim.core.errors import UserError
from sim.core.options import PROBABILITY, above, at_least, multiple_of, option

FIT_CHUNKS = 2000  # at most, that byte-pair coding is trained on
NEVER = -1e9  # a logit; finite, since guidance subtracts logits


@HEADS.register("fast")
@dataclass(frozen=True)
class FastConfig(HeadConfig):
    """Sizes of the head."""

    name: str = "fast"
    scale: float = option(10.0, "coefficients are rounded to one over this, in standard deviations", above(0.0))
    limit: int = option(200, "largest rounded coefficient", at_least(1))
    vocabulary: int = option(1024, "tokens of the byte-pair coding", at_least(2))
    distortion: float = option(
        0.0, "largest share of a sample's tokens that those after them read wrong in training", PROBABILITY
    )
    temperature: float = option(1.0, "of drawn tokens; 0: the likeliest", at_least(0.0))
    width: int = option(128, "of the transformer", multiple_of(HEAD_WIDTH, HEAD_WIDTH, 4096))
    layers: int = option(2, "of the transformer", at_least(1))

    def __post_init__(self) -> None:
        if self.vocabulary < self.alphabet:
            raise UserError(
                f"policy.head.vocabulary={self.vocabulary}, expected {self.alphabet} or more, the coefficients that "
                f"policy.head.limit={self.limit} allows"
            )

    @property
    def alphabet(self) -> int:
        """How many values a coefficient may have."""
        return 2 * self.limit + 1

    def build(self, shape: HeadShape) -> "FastHead":
        return FastHead(self, shape)


class FastHead(Head):
    """Compressed tokens of a chunk given context tokens."""

    cosines: Tensor
    merges: Tensor

    def __init__(self, config: FastConfig, shape: HeadShape):
        super().__init__()
        self.config, self.shape, self.end = config, shape, config.vocabulary
        self.draws_chunks = config.temperature > 0
        length = shape.chunk * shape.action_dim + 1
        self.decoder = TokenDecoder(shape, config.vocabulary + 1, length, config.width, config.layers)
        self.register_buffer("cosines", cosine_transform(shape.chunk), persistent=False)
        self.register_buffer("merges", torch.full((config.vocabulary - config.alphabet, 2), PAD))

    def fit(self, actions: Tensor, valid: Tensor) -> None:
        chunks = held(actions, valid)[valid[:, 0]]
        chunks = chunks[:: -(-len(chunks) // FIT_CHUNKS) or 1]  # of every dataset
        self.merges.copy_(learn_merges(self.coefficients(chunks), self.config.alphabet, len(self.merges)))

    # ---- tokens --------------------------------------------------------------------------------

    def coefficients(self, actions: Tensor) -> Tensor:
        """actions (B, T, D) -> int (B, T D) of 0 .. 2 limit, the middle one is zero."""
        limit, scale = self.config.limit, self.config.scale
        rounded = (scale * exact_einsum("kt,btd->bkd", self.cosines, actions)).round()
        return (rounded.clamp(-limit, limit) + limit).long().flatten(1)

    def chunk(self, coefficients: Tensor) -> Tensor:
        """The inverse of `coefficients`, but for what rounding lost."""
        rounded = (coefficients - self.config.limit).unflatten(1, (self.shape.chunk, self.shape.action_dim))
        return exact_einsum("kt,bkd->btd", self.cosines, rounded.to(self.cosines) / self.config.scale)

    def tokens(self, actions: Tensor) -> Tensor:
        """actions (B, T, D) -> int (B, L), PAD behind the shorter ones."""
        return encode(self.coefficients(actions), self.merges, self.config.alphabet)

    def actions(self, tokens: Tensor) -> Tensor:
        """int (B, L), ended by `end`, PAD or its length -> (B, T, D)."""
        merges, numbers = self.merges.tolist(), self.shape.chunk * self.shape.action_dim
        rows = []
        for row in tokens.tolist():
            ends = [i for i, token in enumerate(row) if token in (self.end, PAD)]
            written = expand(row[: ends[0]] if ends else row, merges, self.config.alphabet)[:numbers]
            rows.append(written + [self.config.limit] * (numbers - len(written)))
        return self.chunk(torch.tensor(rows, device=tokens.device))

    # ---- learning and acting -------------------------------------------------------------------

    def loss(self, actions: Tensor, valid: Tensor, context: Tensor, generator: torch.Generator) -> Tensor:
        tokens = F.pad(self.tokens(held(actions, valid)), (0, 1), value=PAD)
        ends = (tokens != PAD).sum(1, keepdim=True)
        tokens = tokens.scatter(1, ends, self.end)
        read = F.pad(tokens.clamp(min=0), (0, self.decoder.length - tokens.shape[1]))  # as many draws in every share
        read = distorted(read, self.config.distortion, self.config.vocabulary, generator)[:, : tokens.shape[1]]
        logits = self.decoder(context, read)
        error = F.cross_entropy(logits.transpose(1, 2), tokens, reduction="none", ignore_index=PAD)
        return error.sum(1) / (ends[:, 0] + 1) * valid.any(1)

    @torch.no_grad()
    def sample(
        self, context: Tensor, generator: torch.Generator, unconditional: Tensor | None = None, guidance: float = 1.0
    ) -> Tensor:
        guided = Guided.of(context, unconditional, guidance)
        choose, never = drawing(guided, self.config.temperature, generator), self._never
        write = self.decoder.write(guided.contexts, lambda logits: choose(logits.masked_fill(never, NEVER)), self.end)
        for _ in range(self.decoder.length - write.shape[1]):  # as many draws in every share, however long its tokens
            torch.rand((len(context), len(never)), generator=generator)
        return self.actions(write)

    @property
    def _never(self) -> Tensor:
        """bool (V + 1,): tokens that stand for nothing, where few chunks taught fewer merges than there is room for."""
        return F.pad(self.merges[:, 0] == PAD, (self.config.alphabet, 1))


def exact_einsum(equation: str, matrix: Tensor, values: Tensor) -> Tensor:
    """Return the product in float32, whatever autocast asks for: in bfloat16 it would be rounded to other tokens."""
    with torch.autocast(values.device.type, enabled=False):
        return torch.einsum(equation, matrix, values.float())


def cosine_transform(steps: int) -> Tensor:
    """Return the orthonormal DCT-II as a matrix (frequency, step): its transpose is its inverse."""
    step, frequency = torch.arange(steps, dtype=torch.float64), torch.arange(steps, dtype=torch.float64)[:, None]
    matrix = torch.cos(math.pi / steps * (step + 0.5) * frequency) * math.sqrt(2 / steps)
    matrix[0] /= math.sqrt(2)
    return matrix.float()
