"""The mixing network of a trained eye: learned from what geometry makes of looks, which is computed once.

Its looks are best others than those that trained the network: there the network would be surer than it is elsewhere.

Shapes: N rows, R = 2 roles.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from policies.eye.mixing import Found, Mixer, found_loss
from policies.eye_training.descent import Log, descend
from policies.fusion.eye import Eye
from policies.scenes.table import LookBatch, LookTable

BATCH, STEPS = 512, 4000
TOGETHER = 50  # looks
ALONE_SHARE = 0.15  # of the looks at which one camera is left out, for each
REGION = 0.95  # of the true points that are to lie in it


@dataclass
class Seen:
    """What geometry makes of looks, and the truth."""

    signs: Tensor  # (N, R, .)
    candidates: Tensor  # (N, R, CANDIDATES, 3) m
    tool_point: Tensor  # (N, 3) m
    tool_rotation: Tensor  # (N, 3, 3)
    points_b: Tensor  # (N, R, 3) m
    held: Tensor  # (N,)
    absent: Tensor  # (N, R)
    whole: Tensor  # (N,) bool: with every camera
    row: Tensor  # (N,) of the look

    def __getitem__(self, rows: Tensor) -> "Seen":
        return Seen(*(getattr(self, f.name)[rows] for f in fields(self)))


@torch.no_grad()
def see(eye: Eye, table: LookTable, rows: np.ndarray, seed: int = 0) -> Seen:
    """Return what the eye's geometry makes of these looks, of their sentences and of those that name what is absent."""
    eye.eval()
    rng, parts = np.random.default_rng(seed), []
    for some in np.array_split(rows, max(len(rows) // TOGETHER, 1)):
        batch = table.batch(some, rng)
        alone = rng.random(len(eye.mixer.names)) < ALONE_SHARE
        left_out = {name for name, out in zip(eye.mixer.names, alone, strict=True) if out and alone.sum() == 1}
        parts += [_seen(eye, batch, some, left_out, foil=foil) for foil in (False, True)]
    return Seen(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Seen)))


def _seen(eye: Eye, batch: LookBatch, rows: np.ndarray, left_out: set[str], *, foil: bool) -> Seen:
    words, mask = (batch.foil_words, batch.foil_mask) if foil else (batch.words, batch.word_mask)
    queries = eye.network.read(words, mask)
    images = {name: batch.images[:, c] for c, name in enumerate(eye.mixer.names) if name not in left_out}
    views = eye.views(images, queries)
    signs, candidates, tool = eye.mixer.geometry(views, queries, batch.state)
    absent = batch.absent if foil else torch.zeros_like(batch.absent)
    whole = torch.full((len(rows),), not left_out)
    seen = Seen(signs, candidates, tool[0], tool[1], batch.points_b, batch.held, absent, whole, torch.from_numpy(rows))
    return seen[batch.absent.any(1)] if foil else seen


def fit_mixer(mixer: Mixer, seen: Seen, steps: int = STEPS, log: Log | None = None) -> None:
    """Train the mixing network."""
    mixer.scale.fit(seen.signs.flatten(0, 1))
    mixer.train()
    generator = torch.Generator().manual_seed(0)

    def losses() -> dict[str, Tensor]:
        part = seen[torch.randint(len(seen.row), (BATCH,), generator=generator)]
        return found_loss(mix(mixer, part), part.points_b, part.held, part.absent)

    descend(mixer.net, losses, steps, log)
    mixer.eval()


def mix(mixer: Mixer, seen: Seen) -> Found:
    """Return what the mixing network finds."""
    return mixer.decide(seen.signs, seen.candidates, (seen.tool_point, seen.tool_rotation))


@torch.no_grad()
def region(mixer: Mixer, seen: Seen) -> float:
    """Return how many usual errors hold REGION of the true points that are there."""
    found = mix(mixer, seen)
    ratio = (found.points_b - seen.points_b)[..., :2].norm(dim=-1) / found.log_error[..., 3].exp()
    return float(ratio[~seen.absent].quantile(REGION))
