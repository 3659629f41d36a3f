"""Frozen maps and words in, prefix tokens and grounded points out.

Each camera's maps are modulated by the instruction (FiLM, Perez et al. 2018), turned into keypoints
by a spatial softmax (Levine et al. 2016) with the features found there, and gathered into a few
tokens. A grounding head reads from the same keypoints where the named things are: the simulator's
free ground truth keeps the network on what the words mean.

Shapes: B batch, L words, C channels, K keypoints a camera, G grounded points, P prefix tokens, W token width.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from policies.core.inputs import Inputs
from policies.core.parts import (
    POINT_SCALE_M,
    Fusion,
    FusionConfig,
    LanguageConfig,
    Prefix,
    VisionConfig,
    check_reads_words,
)
from policies.core.registry import FUSIONS
from policies.core.spec import Needs, PolicySpec
from policies.fusion.pretrained_fusion import read_fusion
from sim.core.errors import UserError
from sim.core.options import at_least, option

_log = logging.getLogger(__name__)


@FUSIONS.register("keypoints")
@dataclass(frozen=True)
class KeypointFusionConfig(FusionConfig):
    """Sizes of the fusion."""

    name: str = "keypoints"
    channels: int = option(96, "of the modulated maps", at_least(1))
    keypoints: int = option(32, "of each camera", at_least(1))
    keypoint_features: int = option(8, "of each keypoint", at_least(1))
    text_queries: int = option(4, "tokens that the instruction is pooled into", at_least(1))
    camera_tokens: int = option(4, "of each camera", at_least(1))
    width: int = option(128, "of a token", at_least(1))

    def build(self, spec: PolicySpec, vision: VisionConfig | None, language: LanguageConfig | None) -> "KeypointFusion":
        if vision is None or language is None or len(vision.channels) != 2:
            raise UserError(
                f"fusion {self.name!r} needs a language part and a vision part with maps at two strides; "
                "choose policy.vision and policy.language"
            )
        check_reads_words(self, language)
        return KeypointFusion(self, spec, vision.channels, language.width)


class TextPooler(nn.Module):
    """A few learned queries over the instruction's token states."""

    def __init__(self, text_width: int, queries: int, width: int):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(queries, width) * width**-0.5)
        self.key = nn.Linear(text_width, width)
        self.value = nn.Linear(text_width, width)

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        """words (B, L, text_width), mask (B, L) True where there is a word -> (B, queries, W)."""
        logits = torch.einsum("qw,blw->bql", self.queries, self.key(words)) * self.queries.shape[-1] ** -0.5 * 4
        weights = logits.masked_fill(~mask[:, None], -torch.inf).softmax(-1)
        return torch.einsum("bql,blw->bqw", weights, self.value(words))


class FilmBlock(nn.Module):
    """A linear map at every place, norm, modulation by the instruction, nonlinearity.

    No convolution: the frozen maps have receptive fields of 40 px and more, and a CPU is fastest at
    matrix products.
    """

    def __init__(self, inputs: int, channels: int, text_width: int):
        super().__init__()
        self.linear = nn.Linear(inputs, channels)
        self.norm = nn.LayerNorm(channels)
        self.film = nn.Linear(text_width, 2 * channels)
        nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        """x (B, places, inputs), text (B, text_width) -> (B, places, channels)."""
        scale, shift = self.film(text)[:, None].chunk(2, -1)
        return F.silu(torch.addcmul(shift, self.norm(self.linear(x)), 1 + scale))


class KeypointEncoder(nn.Module):
    """One camera's maps -> keypoints with features."""

    def __init__(self, config: KeypointFusionConfig, map_channels: Sequence[int]):
        super().__init__()
        c, text_width = config.channels, config.text_queries * config.width
        self.mix = FilmBlock(sum(map_channels), c, text_width)
        self.look = FilmBlock(c, c, text_width)
        self.points = nn.Linear(c, config.keypoints)
        self.features = nn.Linear(c, config.keypoint_features)

    def forward(self, fine: Tensor, coarse: Tensor, text: Tensor) -> Tensor:
        """fine (B, C8, h, w), coarse (B, C16, h/2, w/2), text (B, queries*W) -> (B, K, 3 + features)."""
        x = self.mix(side_by_side((fine, coarse)), text)
        x = x + self.look(x, text)
        logits = self.points(x).transpose(1, 2)  # (B, K, h*w)
        weights = logits.softmax(-1)
        found = weights @ torch.cat([grid(fine), self.features(x)], -1)  # (B, K, 2 + features)
        sharpness = (weights * logits).sum(-1, keepdim=True) - logits.mean(-1, keepdim=True)
        return torch.cat([found, sharpness / 8], -1)


def side_by_side(maps: Sequence[Tensor]) -> Tensor:
    """Return (B, h*w, all C), what maps (B, C, ., .), fine to coarse, have at each cell of the finest."""
    coarser = [F.interpolate(one, size=maps[0].shape[-2:], mode="bilinear") for one in maps[1:]]
    return torch.cat([maps[0], *coarser], 1).flatten(2).transpose(1, 2)


def grid(maps: Tensor) -> Tensor:
    """(B, h*w, 2) x and y of each cell in -1..1."""
    h, w = maps.shape[-2:]
    ys, xs = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
    return torch.stack([xs, ys], -1).flatten(0, 1).to(maps)[None].expand(len(maps), -1, -1)


class KeypointFusion(Fusion):
    """Images, words and state to prefix tokens and grounded points."""

    needs = Needs(images=True, instruction=True)
    gives = frozenset({"tokens", "points"})
    point_center: Tensor

    def __init__(self, config: KeypointFusionConfig, spec: PolicySpec, map_channels: Sequence[int], text_width: int):
        super().__init__()
        self.config, self.width = config, config.width
        self.text = TextPooler(text_width, config.text_queries, config.width)
        self.encoders = nn.ModuleDict({camera: KeypointEncoder(config, map_channels) for camera in spec.cameras})
        found = config.keypoints * (3 + config.keypoint_features)
        self.tokens = nn.ModuleDict({c: nn.Linear(found, config.camera_tokens * config.width) for c in spec.cameras})
        points = len(spec.points)
        self._image_inputs, self._pose_inputs = len(spec.cameras) * found, 3 * spec.state_dim
        self._text_inputs = config.text_queries * config.width
        self.grounding = nn.Sequential(
            nn.Linear(self._image_inputs + self._pose_inputs + self._text_inputs, 256), nn.SiLU(),
            nn.Linear(256, 256), nn.SiLU(), nn.Linear(256, 3 * points),
        )  # fmt: skip
        self.point_token = nn.Linear(3 * points, config.width)
        self.register_buffer("point_center", torch.zeros(points, 3))  # m
        self.prefix_tokens = len(spec.cameras) * config.camera_tokens + config.text_queries + 1

    def forward(self, inputs: Inputs) -> Prefix:
        assert inputs.words is not None and inputs.word_mask is not None
        words = self.text(inputs.words, inputs.word_mask)
        text = words.flatten(1)
        found = {c: encoder(*inputs.maps[c], text).flatten(1) for c, encoder in self.encoders.items()}
        points = self.grounding(torch.cat([*found.values(), inputs.pose, text], -1))
        tokens = [
            head(found[camera]).unflatten(1, (self.config.camera_tokens, -1)) for camera, head in self.tokens.items()
        ]
        # Actions must not train the grounding head: it learns from ground truth alone.
        prefix = torch.cat([*tokens, words, self.point_token(points.detach())[:, None]], 1)
        return Prefix(prefix, points.unflatten(1, (-1, 3)) * POINT_SCALE_M + self.point_center)

    def fit_points(self, points: Tensor) -> None:
        self.point_center.copy_(points.nanmean(0).nan_to_num())

    def load_pretrained(self, root: Path) -> dict:
        """Load a folder's weights; those that read the joints of an arm with more or fewer of them begin at 0.

        UserError for other cameras or points, and for such an arm where this fusion is frozen.
        """
        weights, card = read_fusion(root, self.config)
        weights["grounding.0.weight"] = self._fitted(weights["grounding.0.weight"], root)
        try:
            self.load_state_dict(weights)
        except RuntimeError as error:
            raise UserError(f"{root} was made for other cameras or points; give init_fusion=null") from error
        return card

    def _fitted(self, layer: Tensor, root: Path) -> Tensor:
        """Return the first layer of the grounding head, (256, inputs), for the state of this robot."""
        if layer.shape[1] == self._image_inputs + self._pose_inputs + self._text_inputs:
            return layer
        if not self.point_token.weight.requires_grad:  # else it would stay blind to the pose
            raise UserError(
                f"{root} was made for an arm of another number of joints, and what is frozen does not learn to read "
                "these: python -m policies.pretrain_grounding robot=NAME out=DIR, then init_fusion=DIR"
            )
        _log.warning("%s was made for an arm of another number of joints: what reads the joints is learned anew", root)
        before, after = layer[:, : self._image_inputs], layer[:, layer.shape[1] - self._text_inputs :]
        return torch.cat([before, layer.new_zeros(len(layer), self._pose_inputs), after], 1)

    def pretrained_parameters(self) -> list[nn.Parameter]:
        return [*self.encoders.parameters(), *self.text.parameters()]
