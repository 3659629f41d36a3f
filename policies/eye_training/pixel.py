"""The networks that look closer for pixels, trained on what the eye finds in labelled looks, moved a little.

Shapes: N things that an image shows, H = HEAT cells.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from policies.eye.pixel import CUT_OUT, FARTHEST, PixelView, relative, sample
from policies.eye.trunk import CELLS, SIDE, as_rgb
from policies.eye.view import Heat
from policies.eye_training.descent import Log, descend
from policies.fusion.eye import Eye
from policies.scenes.table import LookTable

BATCH, STEPS = 256, 4000
TOGETHER = 50  # looks
BESIDE = 16  # px of the image that are read on each side of a cut-out
HEAT = 21  # cells of the heat that are kept around what was found
OFF = 0.8 / SIDE  # deviation of how far a found pixel is moved, in units of the image's side
GAIN, TINT = 0.12, 0.06  # by which images are made brighter or darker, and each colour of them
SPREAD_WEIGHT = 0.1


@dataclass
class Things:
    """What a camera shows of one kind of thing, where the eye found it and where it is."""

    row: Tensor  # (N,) of the table
    found: Tensor  # (N, 2) in units of the side
    true: Tensor  # (N, 2)
    spread: Tensor  # (N, 2)
    heat: Tensor  # (N, H, H) 0..1
    corner: Tensor  # (N, 2) of the heat's upper left cell, in units of the side
    about: Tensor  # (N, A)

    def __getitem__(self, which: Tensor) -> "Things":
        return Things(*(getattr(self, one.name)[which] for one in fields(self)))


def fit_pixels(eye: Eye, table: LookTable, rows: np.ndarray, log: Log | None = None) -> None:
    """Train the networks on these rows of a table."""
    assert eye.closer is not None
    closer, eye.closer = eye.closer, None  # they are shown what is found without them
    eye.eval()
    for camera in closer.roles:
        c = eye.mixer.names.index(camera)
        for view, arm in ((closer.roles[camera], False), (closer.arm[camera], True)):
            parts = list(_things(eye, table, rows, c, arm=arm))
            things = Things(*(torch.cat([getattr(one, f.name) for one in parts]) for f in fields(Things)))
            _fit(cast(PixelView, view), table.rows["images"], c, things, log)
    eye.closer = closer


@torch.no_grad()
def _things(eye: Eye, table: LookTable, rows: np.ndarray, c: int, *, arm: bool) -> Iterator[Things]:
    """Yield the objects and targets, or the arm's points, that camera `c` shows, some looks at a time."""
    rng, camera, which = np.random.default_rng(0), eye.mixer.names[c], torch.eye(eye.network.landmarks)
    for some in np.array_split(rows, max(len(rows) // TOGETHER, 1)):
        batch = table.batch(some, rng)
        queries = eye.network.read(batch.words, batch.word_mask)
        view = eye.views({camera: batch.images[:, c]}, queries)[camera]
        if arm:
            yield _shown(some, view.arm, batch.arm_pixels[:, c], which.expand(len(some), -1, -1))
        else:
            yield _shown(some, view.roles, batch.pixels[:, c], queries.vector)


def _shown(rows: np.ndarray, heat: Heat, true: Tensor, about: Tensor) -> Things:
    """Return the things that are in their image."""
    look, thing = ((true > 0) & (true < 1)).all(-1).nonzero(as_tuple=True)
    found = heat.pixel[look, thing]
    first = ((found * CELLS).long() - HEAT // 2).clamp(0, CELLS - HEAT)
    maps = relative(heat.logits[look, thing, :-1]).unflatten(-1, (CELLS, CELLS))
    columns, lines = (first[:, i, None] + torch.arange(HEAT) for i in (0, 1))
    return Things(
        row=torch.from_numpy(rows)[look], found=found, true=true[look, thing], spread=heat.spread[look, thing],
        heat=maps[torch.arange(len(look))[:, None, None], lines[:, :, None], columns[:, None]],
        corner=first / CELLS, about=about[look, thing],
    )  # fmt: skip


def _fit(view: PixelView, images: np.ndarray, c: int, things: Things, log: Log | None) -> None:
    generator = torch.Generator().manual_seed(0)

    def losses() -> dict[str, Tensor]:
        some = things[torch.randint(len(things.row), (BATCH,), generator=generator)]
        start = some.found + OFF * torch.randn(some.found.shape, generator=generator)
        cut_outs = _varied(near_cut_outs(view, images, c, some, start), generator)
        moved, wider = view.read(cut_outs, some.spread, some.about)
        away, spread = (start + moved - some.true).abs(), (some.spread + wider).clamp(-9, 0)
        near = ((some.true - start).abs().amax(-1) < FARTHEST).float()[:, None]  # a wrong peak cannot be mended here
        likely = away.detach() / spread.exp() + spread
        pixel = SIDE * (away * near).sum() / near.sum().clamp(min=1)
        return {"pixel": pixel, "spread": SPREAD_WEIGHT * likely.sum(-1).mean()}

    descend(view.train(), losses, STEPS, log)
    view.eval()


def near_cut_outs(view: PixelView, images: np.ndarray, c: int, things: Things, start: Tensor) -> Tensor:
    """Return what `PixelView.cut_outs` makes of things that are looked for at `start` (N, 2), near where they were
    found, without reading whole images (rows, C, SIDE, SIDE, 3)."""
    side = CUT_OUT + 2 * BESIDE
    corner = (things.found * SIDE).round().long() - side // 2
    along = torch.arange(side)
    columns, lines = ((corner[:, i, None] + along).clamp(0, SIDE - 1).numpy() for i in (0, 1))
    patch = images[things.row.numpy()[:, None, None], c, lines[:, :, None], columns[:, None, :]]
    places = start[:, None, None] + view.offsets  # (N, CUT_OUT, CUT_OUT, 2)
    seen = sample(as_rgb(torch.from_numpy(patch)), 2 * (places - corner[:, None, None] / SIDE) * SIDE / side - 1)
    heated = 2 * (places - things.corner[:, None, None]) * CELLS / HEAT - 1
    return torch.cat([seen, F.grid_sample(things.heat[:, None], heated, align_corners=False)], 1)


def _varied(cut_outs: Tensor, generator: torch.Generator) -> Tensor:
    """Make images brighter or darker, and warmer or colder."""
    rgb, hot = cut_outs.split((3, 1), 1)
    gain = 1 + GAIN * (2 * torch.rand((len(rgb), 1, 1, 1), generator=generator) - 1)
    tint = 1 + TINT * (2 * torch.rand((len(rgb), 3, 1, 1), generator=generator) - 1)
    return torch.cat([(rgb + 1) * gain * tint - 1, hot], 1)
