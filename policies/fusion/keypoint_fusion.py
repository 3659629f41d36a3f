"""The trained eye of the small policy: frozen maps and words in, prefix tokens out.

Each camera's maps are modulated by the instruction (FiLM, Perez et al. 2018), turned into keypoints
by a spatial softmax (Levine et al. 2016) with the features found there, and gathered into a few
tokens. A grounding head reads from the same tokens where the named things are: the simulator's
free labels keep the eye on what the words mean.

Shapes: B batch, L words, C channels, K keypoints a camera, P prefix tokens, W token width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TEXT_WIDTH = 384
MAP_CHANNELS = (136, 112)  # fine at stride 8, coarse at stride 16


@dataclass(frozen=True)
class FusionConfig:
    """Sizes of the fusion."""

    channels: int = 96
    keypoints: int = 32
    keypoint_features: int = 8
    text_queries: int = 4
    camera_tokens: int = 4
    width: int = 128
    grounding_points: int = 4  # object and target, in the world and seen from the tool


class TextPooler(nn.Module):
    """A few learned queries that read the instruction's token states."""

    def __init__(self, queries: int, width: int):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(queries, width) * width**-0.5)
        self.key = nn.Linear(TEXT_WIDTH, width)
        self.value = nn.Linear(TEXT_WIDTH, width)

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        """words (B, L, 384), mask (B, L) True where there is a word -> (B, queries, W)."""
        logits = torch.einsum("qw,blw->bql", self.queries, self.key(words)) * self.queries.shape[-1] ** -0.5 * 4
        weights = logits.masked_fill(~mask[:, None], -torch.inf).softmax(-1)
        return torch.einsum("bql,blw->bqw", weights, self.value(words))


class FilmBlock(nn.Module):
    """A linear map at every place, norm, modulation by the instruction, nonlinearity.

    No convolution: the frozen maps already look around (receptive fields of 40 px and more), and
    matrix products are what a CPU does best.
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

    def __init__(self, config: FusionConfig):
        super().__init__()
        c, text_width = config.channels, config.text_queries * config.width
        self.mix = FilmBlock(sum(MAP_CHANNELS), c, text_width)
        self.look = FilmBlock(c, c, text_width)
        self.points = nn.Linear(c, config.keypoints)
        self.features = nn.Linear(c, config.keypoint_features)

    def forward(self, fine: Tensor, coarse: Tensor, text: Tensor) -> Tensor:
        """fine (B, 136, h, w), coarse (B, 112, h/2, w/2), text (B, queries*W) -> (B, K, 3 + features)."""
        coarse = F.interpolate(coarse, size=fine.shape[-2:], mode="bilinear")
        x = torch.cat([fine, coarse], 1).flatten(2).transpose(1, 2)  # (B, h*w, 248)
        x = self.mix(x, text)
        x = x + self.look(x, text)
        logits = self.points(x).transpose(1, 2)  # (B, K, h*w)
        weights = logits.softmax(-1)
        found = weights @ torch.cat([_grid(fine), self.features(x)], -1)  # (B, K, 2 + features)
        sharpness = (weights * logits).sum(-1, keepdim=True) - logits.mean(-1, keepdim=True)
        return torch.cat([found, sharpness / 8], -1)


def _grid(maps: Tensor) -> Tensor:
    """(B, h*w, 2) x and y of each cell in -1..1."""
    h, w = maps.shape[-2:]
    ys, xs = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
    return torch.stack([xs, ys], -1).flatten(0, 1).to(maps)[None].expand(len(maps), -1, -1)


class Fusion(nn.Module):
    """Pictures, words and state -> prefix tokens and the grounded points."""

    def __init__(self, config: FusionConfig, cameras: tuple[str, ...], state_dim: int):
        super().__init__()
        self.config = config
        self.words = TextPooler(config.text_queries, config.width)
        self.eyes = nn.ModuleDict({camera: KeypointEncoder(config) for camera in cameras})
        seen = config.keypoints * (3 + config.keypoint_features)
        self.tokens = nn.ModuleDict({c: nn.Linear(seen, config.camera_tokens * config.width) for c in cameras})
        text_width = config.text_queries * config.width
        self.grounding = nn.Sequential(
            nn.Linear(len(cameras) * seen + 3 * state_dim + text_width, 256), nn.SiLU(),
            nn.Linear(256, 256), nn.SiLU(), nn.Linear(256, 3 * config.grounding_points),
        )  # fmt: skip
        self.point_token = nn.Linear(3 * config.grounding_points, config.width)

    @property
    def prefix_tokens(self) -> int:
        return len(self.eyes) * self.config.camera_tokens + self.config.text_queries + 1

    def forward(self, maps: dict[str, tuple[Tensor, Tensor]], words: Tensor, mask: Tensor, state: Tensor):
        """-> prefix (B, P, W), points (B, grounding_points, 3) in normalized metres.

        maps: camera -> (fine, coarse); state (B, D) as measured: rad, gripper 0..1.
        """
        read = self.words(words, mask)
        text = read.flatten(1)
        seen = {camera: eye(*maps[camera], text).flatten(1) for camera, eye in self.eyes.items()}
        pose = torch.cat([state, state.sin(), state.cos()], -1)
        points = self.grounding(torch.cat([*seen.values(), pose, text], -1))
        tokens = [
            head(seen[camera]).unflatten(1, (self.config.camera_tokens, -1)) for camera, head in self.tokens.items()
        ]
        prefix = torch.cat([*tokens, read, self.point_token(points.detach())[:, None]], 1)
        return prefix, points.unflatten(1, (self.config.grounding_points, 3))
