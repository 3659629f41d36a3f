"""The pixel of what was found, to a fraction of one: a closer look at where the heat map has it.

A cell of the heat map is 4 px wide. Here a cut-out of the image around each found pixel, with the heat on it, goes
through a small network, which moves the pixel and says anew how far off it may be. Images of cameras on the bench alone
are looked at so: those of cameras on the tool become no better (EXPERIMENTS.md, "A closer look for pixels").

Shapes: B observations, Q things of one camera (roles or arm points), A numbers that say which thing it is.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from policies.eye.queries import Queries
from policies.eye.trunk import CELLS, SIDE, as_rgb, convolve, cut_out_offsets
from policies.eye.view import Heat, View

CUT_OUT = 32  # px a side
WIDTHS = (24, 40, 48)  # channels at 16, 8 and 4 cells a side
HIDDEN = 64
FARTHEST = 6 / SIDE  # that a pixel is moved, along x and y


class PixelView(nn.Module):
    """Cut-outs of one camera's image to better pixels of one kind of thing."""

    offsets: Tensor

    def __init__(self, about: int, *, own: bool = False):
        """about: A. own: each of A things has a last layer of its own."""
        super().__init__()
        self.own = own
        channels = zip((4, *WIDTHS), WIDTHS, strict=False)
        self.layers = nn.Sequential(*(convolve(before, after, 2) for before, after in channels), nn.Flatten())
        self.shown = nn.Linear(WIDTHS[-1] * (CUT_OUT >> len(WIDTHS)) ** 2, HIDDEN)
        self.about = nn.Linear(about + 2, HIDDEN)
        last = nn.Linear(HIDDEN, 4 * about if own else 4)
        nn.init.zeros_(last.weight)  # untrained, it leaves all as it is
        nn.init.zeros_(last.bias)
        self.out = nn.Sequential(nn.SiLU(), nn.Linear(HIDDEN, HIDDEN), nn.SiLU(), last)
        self.register_buffer("offsets", cut_out_offsets(CUT_OUT, CUT_OUT), persistent=False)

    def forward(self, images: Tensor, heat: Heat, about: Tensor) -> Heat:
        """images uint8 (B, SIDE, SIDE, 3), about (B, Q, A) -> the heat, its pixels and spread made better."""
        batch, count = heat.pixel.shape[:2]
        moved, wider = self.read(self.cut_outs(images, heat), heat.spread.flatten(0, 1), about.flatten(0, 1))
        return replace(
            heat,
            pixel=heat.pixel + moved.unflatten(0, (batch, count)),
            spread=(heat.spread + wider.unflatten(0, (batch, count))).clamp(-9, 0),
        )

    def cut_outs(self, images: Tensor, heat: Heat) -> Tensor:
        """Return what `read` is shown of each thing, (B * Q, 4, CUT_OUT, CUT_OUT)."""
        places = 2 * (heat.pixel[:, :, None, None] + self.offsets) - 1  # (B, Q, CUT_OUT, CUT_OUT, 2)
        rgb = sample(as_rgb(images), places.flatten(1, 2)).unflatten(2, (-1, CUT_OUT)).transpose(1, 2)
        hot = relative(heat.logits[..., :-1]).reshape(-1, 1, CELLS, CELLS)
        heated = F.grid_sample(hot, places.flatten(0, 1), align_corners=False)
        return torch.cat([rgb.flatten(0, 1), heated], 1)

    def read(self, cut_outs: Tensor, spread: Tensor, about: Tensor) -> tuple[Tensor, Tensor]:
        """cut_outs (N, 4, CUT_OUT, CUT_OUT) of RGB -1..1 and heat, spread (N, 2), about (N, A) -> by how much to move
        the pixel (N, 2), in units of the side, and what to add to its spread (N, 2)."""
        hidden = self.shown(self.layers(cut_outs)) + self.about(torch.cat([about, spread + 4], -1))
        out = self.out(hidden)
        if self.own:
            out = (about[..., None] * out.unflatten(-1, (-1, 4))).sum(1)
        moved, wider = out.split(2, -1)
        return FARTHEST * moved.tanh(), wider


class PixelFinder(nn.Module):
    """The closer looks of cameras on the bench: at what a sentence names, and at the arm's points."""

    which: Tensor

    def __init__(self, cameras: Mapping[str, bool], vector: int, landmarks: int):
        """cameras: name -> whether it is on the tool. vector: width of `Queries.vector`. landmarks: arm points."""
        super().__init__()
        bench = [name for name, on_tool in cameras.items() if not on_tool]
        self.roles = nn.ModuleDict({name: PixelView(vector) for name in bench})
        self.arm = nn.ModuleDict({name: PixelView(landmarks, own=True) for name in bench})
        self.register_buffer("which", torch.eye(landmarks), persistent=False)

    def forward(self, images: Mapping[str, Tensor], views: Mapping[str, View], queries: Queries) -> dict[str, View]:
        """images: camera -> uint8 (B, SIDE, SIDE, 3); views of other cameras stay as they are."""
        closer = {name: self._closer(name, images[name], views[name], queries) for name in self.roles if name in images}
        return {**views, **closer}

    def _closer(self, name: str, images: Tensor, view: View, queries: Queries) -> View:
        roles = self.roles[name](images, view.roles, queries.vector)
        return replace(view, roles=roles, arm=self.arm[name](images, view.arm, self.which.expand(len(images), -1, -1)))


def sample(images: Tensor, places: Tensor) -> Tensor:
    """Return images (N, C, H, W) at places (N, h, w, 2) of -1..1; beyond the border they are as at it."""
    return F.grid_sample(images, places, align_corners=False, padding_mode="border")


def relative(logits: Tensor) -> Tensor:
    """Return logits (..., n) as how likely each is beside the likeliest, 0..1."""
    return (logits - logits.amax(-1, keepdim=True)).exp()
