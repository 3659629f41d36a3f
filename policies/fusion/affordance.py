"""Affordance maps: how well every place of an image suits what the instruction names (CLIPort, Shridhar et al. 2021).

The words are pooled into one vector for each map, first what is taken and then where it goes, and multiplied with the
features of every place; a small network scores the product. A map's softmax gives the place and what is found there.

Small here: a place is a cell of the frozen fine map and not a pixel; the maps are learned through the grounded points
and the actions, not from labelled pixels; where a thing goes is scored, not correlated with what was picked.

Shapes: B batch, M maps, N = h w places, C channels, W token width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from policies.core.inputs import Inputs
from policies.core.parts import LanguageConfig, VisionConfig, check_reads_words
from policies.core.registry import FUSIONS
from policies.core.spec import PolicySpec
from policies.fusion.keypoint_fusion import TextPooler, grid, side_by_side
from policies.fusion.token_fusion import TokenFusion, TokenFusionConfig
from policies.fusion.tokens import PIXELS
from sim.core.errors import UserError
from sim.core.options import at_least, option


@FUSIONS.register("affordance")
@dataclass(frozen=True)
class AffordanceConfig(TokenFusionConfig):
    """Sizes of the maps."""

    name: str = "affordance"
    maps: int = option(2, "of each camera: what is taken, where it goes", at_least(1))
    channels: int = option(96, "of a place", at_least(1))

    def build(self, spec: PolicySpec, vision: VisionConfig | None, language: LanguageConfig | None) -> "Affordance":
        vision, language = self.encoders(vision, language)
        check_reads_words(self, language)
        if vision.name == PIXELS:
            raise UserError(f"fusion {self.name!r} needs feature maps; expected policy.vision.name=efficientnet")
        return Affordance(self, spec, vision, language)


class AffordanceMaps(nn.Module):
    """One camera's feature maps and the words' vectors to a token for each map."""

    def __init__(self, config: AffordanceConfig, features: int):
        """features: of the frozen maps, all together."""
        super().__init__()
        c = config.channels
        self.project, self.norm = nn.Linear(features, c), nn.LayerNorm(c)
        self.hidden, self.out = nn.Linear(c, c), nn.Linear(c, 1)
        self.token = nn.Linear(c + 3, config.width)

    def forward(self, maps: tuple[Tensor, ...], wanted: Tensor) -> Tensor:
        """maps (B, ., h, w), fine to coarse, wanted (B, M, C) -> (B, M, W)."""
        places = self.norm(self.project(side_by_side(maps)))
        return self.look(self.score(places, wanted), places, grid(maps[0]))

    def score(self, places: Tensor, wanted: Tensor) -> Tensor:
        """places (B, N, C), wanted (B, M, C) -> (B, M, N) logits."""
        return self.out(F.silu(self.hidden(places[:, None] * wanted[:, :, None])))[..., 0]

    def look(self, scores: Tensor, places: Tensor, where: Tensor) -> Tensor:
        """Return a token (B, M, W) for each map: where (B, N, 2) its best place is, what is there, how clear it is."""
        found = scores.softmax(-1) @ torch.cat([places, where], -1)
        clear = scores.logsumexp(-1, keepdim=True) - scores.mean(-1, keepdim=True)
        return self.token(torch.cat([found, clear], -1))


class Affordance(TokenFusion):
    """A token for each map of each camera."""

    def __init__(self, config: AffordanceConfig, spec: PolicySpec, vision: VisionConfig, language: LanguageConfig):
        super().__init__(config, spec, vision, language, config.maps * len(spec.cameras))
        self.text = TextPooler(language.width, config.maps, config.channels)
        features = sum(vision.channels)
        self.cameras = nn.ModuleDict({name: AffordanceMaps(config, features) for name in spec.cameras})

    def gather(self, inputs: Inputs) -> Tensor:
        assert inputs.words is not None and inputs.word_mask is not None
        wanted = self.text(inputs.words, inputs.word_mask)
        return torch.cat([camera(inputs.maps[name], wanted) for name, camera in self.cameras.items()], 1)
