"""The networks that see how object and target are turned, trained on labelled looks, at the true place with some error.

Shapes: N rows, R = 2 roles.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from policies.eye_training.descent import Log, descend
from policies.fusion.eye import Eye
from policies.scenes.table import LookTable

BATCH, STEPS = 64, 2000
TURNED_SHARE = 0.7  # of a batch: of things that may not be turned any way
OFF = 0.012  # deviation of where it is looked for, in units of the image's side


@dataclass
class Looks:
    """What the networks of one role see of looks, and the truth."""

    images: dict[str, Tensor]  # camera -> uint8 (N, SIDE, SIDE, 3)
    pixels: dict[str, Tensor]  # camera -> (N, 2)
    presence: dict[str, Tensor]  # camera -> (N,)
    rotation: Tensor  # (N, 3, 3)
    turn: Tensor  # (N, 4)


def is_turned(turn: np.ndarray) -> np.ndarray:
    """Return (...) bool of turns (..., 4): the thing may not be turned any way."""
    return np.abs(turn).max(-1) > 0


def looks(eye: Eye, table: LookTable, rows: np.ndarray, role: int) -> Looks:
    """Return these rows of a table, of the object (role 0) or of the target (1)."""
    names = ("images", "pixels", "state", "turn")
    get = {name: torch.from_numpy(np.ascontiguousarray(table.rows[name][rows])) for name in names}
    thing = get["pixels"][:, :, role]  # (N, C, 2)
    inside = ((thing > 0) & (thing < 1)).all(-1).float()
    cameras = list(enumerate(eye.mixer.names))
    return Looks(
        images={name: get["images"][:, c] for c, name in cameras},
        pixels={name: thing[:, c].nan_to_num().clamp(0, 1) for c, name in cameras},
        presence={name: inside[:, c] for c, name in cameras},
        rotation=eye.mixer.arm(get["state"])[1].float(),
        turn=get["turn"][:, role],
    )


def fit_turn(eye: Eye, table: LookTable, rows: np.ndarray, log: Log | None = None) -> None:
    """Train the networks on these rows, each if any of them shows a thing that may not be turned any way."""
    for role in range(table.rows["turn"].shape[1]):
        which = is_turned(table.rows["turn"][rows, role])
        if which.any():
            _fit(eye, table, role, rows[which], rows[~which], log)


def _fit(eye: Eye, table: LookTable, role: int, turned: np.ndarray, others: np.ndarray, log: Log | None) -> None:
    finder = eye.turn_finder(role)
    assert finder is not None
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    some = round(BATCH * TURNED_SHARE) if len(others) else BATCH

    def losses() -> dict[str, Tensor]:
        drawn = [rng.choice(turned, some), *([rng.choice(others, BATCH - some)] if len(others) else [])]
        batch = looks(eye, table, np.concatenate(drawn), role)
        near = {name: one + OFF * torch.randn(one.shape, generator=generator) for name, one in batch.pixels.items()}
        off = finder(batch.images, near, batch.presence, batch.rotation) - batch.turn
        return {"turn": off.square().sum(1).mean()}

    descend(finder.train(), losses, STEPS, log)
    finder.eval()


@torch.no_grad()
def turn_error_deg(eye: Eye, table: LookTable, rows: np.ndarray, role: int) -> np.ndarray:
    """Return by how many degrees (N,) each found turn is off; of rows whose object (role 0) or target (1) is turned."""
    finder = eye.turn_finder(role)
    assert finder is not None
    found = []
    for some in np.array_split(rows, max(len(rows) // BATCH, 1)):
        batch = looks(eye, table, some, role)
        found.append(off_deg(finder(batch.images, batch.pixels, batch.presence, batch.rotation), batch.turn))
    return np.concatenate(found)


def off_deg(found: Tensor, true: Tensor) -> np.ndarray:
    """Return the angles (...) in degrees between turns (..., 4), at most 90, or 45 where quarter turns look alike; nan
    where none was found (zeros)."""
    twice, four_times = (_between(found[..., at], true[..., at]) for at in (slice(2), slice(2, 4)))
    by_quarters = true[..., :2].norm(dim=-1) < 0.5  # no half turn is told
    off = torch.where(by_quarters, four_times / 4, twice / 2).rad2deg()
    return off.where(found.any(-1), off.new_tensor(torch.nan)).numpy()


def _between(a: Tensor, b: Tensor) -> Tensor:
    """Return the angles (...) in rad between vectors (..., 2)."""
    return torch.atan2(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0], (a * b).sum(-1)).abs()
