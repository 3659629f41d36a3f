"""A prefix transformer: images' cells, words and state as one sequence, read out by a few learned tokens.

What a vision-language model does to its prefix (PaliGemma in pi-0, Llama in OpenVLA, SmolLM in SmolVLA), small and
without their pretraining. The learned tokens come last, as Octo's readouts and CogACT's cognition token do.

Shapes: B batch, N tokens read, R readouts, W token width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from policies.core.attention import Layer
from policies.core.inputs import Inputs
from policies.core.parts import LanguageConfig, VisionConfig
from policies.core.registry import FUSIONS
from policies.core.spec import PolicySpec
from policies.fusion.token_fusion import ReadoutConfig, ReadoutFusion
from policies.fusion.tokens import KINDS, in_a_row, token_readers
from sim.core.options import EACH_ONCE, NOT_EMPTY, one_of, option


@FUSIONS.register("transformer")
@dataclass(frozen=True)
class TransformerConfig(ReadoutConfig):
    """What is read, and how."""

    name: str = "transformer"
    reads: tuple[str, ...] = option(KINDS, "tokens, first to last", NOT_EMPTY, EACH_ONCE, one_of(*KINDS))
    causal: bool = option(False, "a token sees those before it; false: all")

    def build(self, spec: PolicySpec, vision: VisionConfig | None, language: LanguageConfig | None) -> "Transformer":
        return Transformer(self, spec, *self.encoders(vision, language))


class Transformer(ReadoutFusion):
    """Self-attention over the whole prefix."""

    def __init__(self, config: TransformerConfig, spec: PolicySpec, vision: VisionConfig, language: LanguageConfig):
        super().__init__(config, spec, vision, language)
        readers = token_readers(spec, vision, language, config.width)
        self.readers = nn.ModuleDict({kind: readers[kind] for kind in config.reads})
        self.layers = nn.ModuleList(Layer(config.width) for _ in range(config.layers))
        self.causal = config.causal

    def gather(self, inputs: Inputs) -> Tensor:
        x, there = self.with_readouts(*in_a_row(self.readers, inputs))
        mask = there[:, None, None]  # (B, 1, 1, N + R)
        if self.causal:
            mask = mask & torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril()
        for layer in self.layers:
            x, _ = layer(x, mask=mask)
        return self.read_out(x)
