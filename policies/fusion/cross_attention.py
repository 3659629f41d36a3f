"""Cross-attention: a few learned tokens look at the words and at the images' cells by turns (RDT, Liu et al. 2024).

Or every word looks at the images, from the first layer on: it becomes what they show of it, as EF-VLA (Huang et al.
2025) fuses early. The learned tokens then read the words.

What is looked at beside the words may be a picture of the goal: a prompt as VIMA's (Jiang et al. 2022).

Small here: in RDT the noisy actions themselves look, here tokens that the head reads.

Shapes: B batch, Q queries, N cells, L words, W token width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from policies.core.attention import HEAD_WIDTH, Layer, attend
from policies.core.inputs import Inputs
from policies.core.parts import LanguageConfig, VisionConfig
from policies.core.registry import FUSIONS
from policies.core.spec import Needs, PolicySpec
from policies.fusion.token_fusion import ReadoutConfig, ReadoutFusion
from policies.fusion.tokens import GOAL, IMAGES, STATE, WORDS, GoalCells, in_a_row, token_readers
from sim.core.options import at_least, option


@FUSIONS.register("cross_attention")
@dataclass(frozen=True)
class CrossAttentionConfig(ReadoutConfig):
    """Who looks at the images."""

    name: str = "cross_attention"
    layers: int = option(4, "of a look at words or images each, by turns", at_least(2))
    by_words: bool = option(False, "every word looks at the images; false: learned tokens do, and at the words")
    goal: bool = option(False, "a picture of the goal is looked at together with the words; by_words: with the images")

    def build(self, spec: PolicySpec, vision: VisionConfig | None, language: LanguageConfig | None) -> "CrossAttention":
        return CrossAttention(self, spec, *self.encoders(vision, language))


class Look(nn.Module):
    """Attention of queries to other tokens, with norm and shortcut."""

    def __init__(self, width: int):
        super().__init__()
        self.heads = max(width // HEAD_WIDTH, 1)
        self.before = nn.LayerNorm(width)
        self.query, self.memory, self.mix = (
            nn.Linear(width, width),
            nn.Linear(width, 2 * width),
            nn.Linear(width, width),
        )

    def forward(self, x: Tensor, seen: Tensor, there: Tensor) -> Tensor:
        """x (B, Q, W), seen (B, N, W), there bool (B, N), False where nothing is -> (B, Q, W)."""
        parts = (self.query(self.before(x)), *self.memory(seen).chunk(2, -1))
        query, key, value = (one.unflatten(-1, (self.heads, -1)).transpose(1, 2) for one in parts)
        mixed = attend(query, key, value, there[:, None, None])
        return x + self.mix(mixed.transpose(1, 2).flatten(2))


class CrossAttention(ReadoutFusion):
    """Queries that look at other tokens and then at each other, layer by layer."""

    def __init__(self, config: CrossAttentionConfig, spec: PolicySpec, vision: VisionConfig, language: LanguageConfig):
        super().__init__(config, spec, vision, language)
        self.needs = Needs(images=True, instruction=True, goal=config.goal)
        goal = (GOAL,) * config.goal
        self.readers = nn.ModuleDict(token_readers(spec, vision, language, config.width))
        if config.goal:
            self.readers[GOAL] = GoalCells(vision, config.width)
        self.queries, self.turns = (STATE,), ((WORDS, *goal), (IMAGES,))
        if config.by_words:
            self.queries, self.turns = (WORDS, STATE), ((IMAGES, *goal),)
        self.words_alone_look = config.by_words
        self.looks = nn.ModuleList(Look(config.width) for _ in range(config.layers))
        self.layers = nn.ModuleList(Layer(config.width) for _ in range(config.layers))

    def gather(self, inputs: Inputs) -> Tensor:
        x, there = self.with_readouts(*self._read(self.queries, inputs))
        seen = [self._read(kinds, inputs) for kinds in self.turns]
        looking = x.shape[1]
        if self.words_alone_look:
            assert inputs.words is not None
            looking = inputs.words.shape[1]
        for i, (look, layer) in enumerate(zip(self.looks, self.layers, strict=True)):
            x = torch.cat([look(x[:, :looking], *seen[i % len(seen)]), x[:, looking:]], 1)
            x, _ = layer(x, mask=there[:, None, None])
        return self.read_out(x)

    def _read(self, kinds: Sequence[str], inputs: Inputs) -> tuple[Tensor, Tensor]:
        return in_a_row({kind: self.readers[kind] for kind in kinds}, inputs)
