"""Images, words and state as tokens of one width, as a vision-language model reads them.

Shapes: B batch, N cells of an image, L words, D state dimension, C channels, W token width.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from policies.core.inputs import Inputs
from policies.core.parts import LanguageConfig, VisionConfig
from policies.core.spec import PolicySpec
from policies.fusion.keypoint_fusion import grid

IMAGES, WORDS, STATE = KINDS = "images", "words", "state"  # of tokens
GOAL = "goal"  # tokens of a picture
PIXELS = "pixels"  # the vision part that hands images on
STEM = (16, 32, 64, 128)  # channels of convolutions, each of which halves the sides
LONGEST = 512  # pieces of an instruction
OCTAVES = 4  # of the waves that a place is written in


class ImageCells(nn.Module):
    """Cells of every camera's feature maps: what is there, where in the image it is, which camera saw it.

    A cell is one of the coarsest map; the finer maps' cells in it lie side by side as channels, so that where in
    the cell a thing is stays known.
    """

    def __init__(self, channels: Sequence[int], cameras: Sequence[str], width: int):
        """channels: of the maps, fine to coarse; each has twice the cells a side of the next."""
        super().__init__()
        of_cell = sum(c * 4**i for i, c in enumerate(reversed(channels)))
        self.project, self.norm = nn.Linear(of_cell, width), nn.LayerNorm(width)
        self.place = nn.Linear(4 * OCTAVES, width)
        self.camera = nn.ParameterDict({name: nn.Parameter(0.02 * torch.randn(width)) for name in cameras})

    def forward(self, inputs: Inputs) -> Tensor:
        """Return (B, cameras * N, W)."""
        return torch.cat([self._cells(inputs.maps[name]) + seen_by for name, seen_by in self.camera.items()], 1)

    def _cells(self, maps: tuple[Tensor, ...]) -> Tensor:
        cells = torch.cat([F.pixel_unshuffle(one, 2**i) for i, one in enumerate(reversed(maps))], 1)
        return self.norm(self.project(cells.flatten(2).transpose(1, 2))) + self.place(waves(grid(cells)))


class PixelCells(ImageCells):
    """Cells of 16 pixels a side, by four convolutions: a small vision transformer from scratch begins with them.

    Convolutions and not one matrix a patch: transformers learn to see faster behind them (Xiao et al. 2021).
    """

    def __init__(self, cameras: Sequence[str], width: int):
        super().__init__(STEM[-1:], cameras, width)
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise((3, *STEM)):
            layers += [nn.Conv2d(inputs, outputs, 4, 2, 1), nn.GELU()]
        self.stem = nn.Sequential(*layers)

    def _cells(self, maps: tuple[Tensor, ...]) -> Tensor:
        """maps: the pixels, 0..255, (B, H, W, 3)."""
        return super()._cells((self.stem(maps[0].permute(0, 3, 1, 2).float() / 127.5 - 1.0),))


def waves(places: Tensor) -> Tensor:
    """(..., 2) x and y in -1..1 -> (..., 4 * OCTAVES) sines and cosines of both, each an octave higher."""
    angles = (places[..., None] * torch.pi / 2 * 2 ** torch.arange(OCTAVES, device=places.device)).flatten(-2)
    return torch.cat([angles.sin(), angles.cos()], -1)


class WordTokens(nn.Module):
    """Token states of an instruction, projected."""

    def __init__(self, text_width: int, width: int):
        super().__init__()
        self.project, self.norm = nn.Linear(text_width, width), nn.LayerNorm(width)

    def forward(self, inputs: Inputs) -> Tensor:
        """Return (B, L, W)."""
        return self.norm(self.project(inputs.words))


class PieceTokens(nn.Module):
    """Learned embeddings of an instruction's word pieces and of their places."""

    def __init__(self, vocabulary: int, width: int):
        super().__init__()
        self.piece, self.place = nn.Embedding(vocabulary, width), nn.Embedding(LONGEST, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, inputs: Inputs) -> Tensor:
        """Return (B, L, W)."""
        assert inputs.words is not None
        numbers = inputs.words[..., 0].long()
        return self.norm(self.piece(numbers) + self.place.weight[: numbers.shape[1]])


class StateToken(nn.Module):
    """The arm's pose as one token."""

    def __init__(self, state_dim: int, width: int):
        super().__init__()
        self.project = nn.Linear(3 * state_dim, width)

    def forward(self, inputs: Inputs) -> Tensor:
        """Return (B, 1, W)."""
        return self.project(inputs.pose)[:, None]


class GoalCells(nn.Module):
    """Cells of a picture of the goal."""

    def __init__(self, vision: VisionConfig, width: int):
        super().__init__()
        self.cells = image_cells(vision, (GOAL,), width)

    def forward(self, inputs: Inputs) -> Tensor:
        """Return (B, N, W)."""
        return self.cells(replace(inputs, maps={GOAL: inputs.goal}))


def image_cells(vision: VisionConfig, cameras: Sequence[str], width: int) -> ImageCells:
    """Return what reads the cells of these cameras' images."""
    return PixelCells(cameras, width) if vision.name == PIXELS else ImageCells(vision.channels, cameras, width)


def token_readers(spec: PolicySpec, vision: VisionConfig, language: LanguageConfig, width: int) -> dict[str, nn.Module]:
    """Return what reads each of KINDS."""
    pieces = language.vocabulary
    return {
        IMAGES: image_cells(vision, spec.cameras, width),
        WORDS: PieceTokens(pieces, width) if pieces else WordTokens(language.width, width),
        STATE: StateToken(spec.state_dim, width),
    }


def in_a_row(readers: Mapping[str, nn.Module] | nn.ModuleDict, inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Return the tokens (B, N, W) of all readers, in their order, and bool (B, N), True where there is one.

    There is none where an instruction is shorter than the longest.
    """
    assert inputs.word_mask is not None
    tokens = {kind: reader(inputs) for kind, reader in readers.items()}
    there = [inputs.word_mask if kind == WORDS else one.new_ones(one.shape[:2]).bool() for kind, one in tokens.items()]
    return torch.cat([*tokens.values()], 1), torch.cat(there, 1)
