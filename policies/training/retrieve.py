"""Old data for a new task: what resembles its few demonstrations, found by dynamic time warping.

After Memmel et al. 2024, "STRAP: Robot Sub-Trajectory Retrieval for Augmented Policy Learning":

    for each stretch of a new demonstration, cut where the arm pauses:
        for each old episode: the part of it that matches best, by subsequence dynamic time warping
        the k best parts are retrieved
    train on the new demonstrations and what was retrieved

Departures:
- The paper compares pictures alone, by DINOv2. Here a frame is the state, what is seen and the actions that follow,
  each as important as the others (states and actions as in Du et al. 2023, "Behavior Retrieval"). What is seen is what
  the policy is given before anything learns: points, or feature maps averaged over each camera's picture. Words are
  left out, as a new task's are unlike any old one's.
- The arm pauses where its joints do, which are recorded; the paper looks at the tool.
- k follows from the share of the old frames that is asked for; the last part is cut off where that is reached. Frames
  that match no stretch are never retrieved, so it may be less.
- A new task has half of every batch, or five demonstrations would be lost among hundreds.

Shapes: N frames of a dataset, F numbers of a description, E episodes, L frames of the longest, Q frames of a stretch.
"""

import itertools
import logging
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from policies.core.inputs import Inputs
from policies.processing.data import FAR_M, EpisodeTable, FrameInputs, check_fits
from policies.processing.observation import ObservationProcessor
from policies.vision.pixels import PixelsConfig

PAUSE_RAD_S = 0.1  # the joints together are slower; the expert moves at 1 to 1.5
SHORTEST_S = 1.0  # of a stretch, 20 frames as in the paper
LARGEST = 3.0  # standard deviations: what is not seen, or lies far off, counts no more than that
BATCH = 1024  # frames described at once
NOWHERE = np.iinfo(np.int64).max  # the place of what matches no stretch
_log = logging.getLogger(__name__)


def keep_similar(
    new: EpisodeTable, old: Sequence[EpisodeTable], processor: ObservationProcessor, share: float, workers: int = 1
) -> None:
    """Give weight zero to all frames of the old tables but the share of them that resembles the new one, or less where
    less matches.

    workers: threads that encode images. UserError for a dataset of another robot, or that does not fit the policy.
    """
    described, *prior = describe([new, *old], processor, workers)
    places = match_places(new, described, old, prior)
    kept = np.zeros(len(places), bool)
    kept[np.argsort(places, kind="stable")[: int(np.ceil(share * len(places)))]] = True
    kept &= places < NOWHERE
    if kept.mean() < share:
        _log.info("retrieve=%g: only %.2f of the old frames match", share, kept.mean())
    for table, mine in zip(old, np.split(kept, np.cumsum([len(table.frame) for table in old])[:-1]), strict=True):
        table.weight = np.where(mine, table.weight, 0.0)
        _log.info("%s: %d of %d frames retrieved", table.dataset.root, mine.sum(), len(mine))


def shares_of_retrieved(new: EpisodeTable, tables: Sequence[EpisodeTable]) -> list[float]:
    """Return the share of each table in a batch: half of it is new, the rest retrieved, all such frames alike."""
    frames = [float((~table.perturbed & (table.weight > 0)).sum()) for table in tables]
    retrieved = sum(number for table, number in zip(tables, frames, strict=True) if table is not new)
    if not retrieved:
        return [float(table is new) for table in tables]
    return [0.5 if table is new else 0.5 * n / retrieved for table, n in zip(tables, frames, strict=True)]


# ---- a frame in numbers ------------------------------------------------------------------------


def describe(tables: Sequence[EpisodeTable], processor: ObservationProcessor, workers: int = 1) -> list[np.ndarray]:
    """Return (N, F) of each table: state, what is seen and actions, on one scale and as important as each other."""
    for table in tables:
        check_fits(table, processor.policy)  # before the first is encoded
    parts = zip(*(_parts(table, processor, workers) for table in tables), strict=True)
    return [np.concatenate(one, 1) for one in zip(*map(_standardized, parts), strict=True)]


def _parts(table: EpisodeTable, processor: ObservationProcessor, workers: int) -> tuple[np.ndarray, ...]:
    """Return state (N, D), what is seen (N, S) and the chunk of joint moves and gripper openings (N, T D)."""
    inputs, rows = FrameInputs(table, processor, workers), np.arange(len(table.frame))
    images = isinstance(processor.policy.config.vision, PixelsConfig)
    seen = [_seen(inputs(rows[first : first + BATCH]), images=images).numpy() for first in range(0, len(rows), BATCH)]
    chunk, _ = table.windows(rows, processor.policy.config.chunk)
    chunk = chunk - table.state[:, None] * (np.arange(chunk.shape[2]) < chunk.shape[2] - 1)
    return table.state, np.concatenate(seen), chunk.reshape(len(rows), -1)


def _seen(inputs: Inputs, *, images: bool) -> Tensor:
    """Return (B, S): points, or the coarsest maps of each camera averaged over the picture; images: they are no maps,
    but images as they are."""
    if inputs.points is not None:
        return inputs.points[..., :3].clamp(-FAR_M, FAR_M).flatten(1)
    return torch.cat([_averaged(maps[-1], images=images) for maps in inputs.maps.values()], 1)


def _averaged(seen: Tensor, *, images: bool) -> Tensor:
    """Return (B, C) the mean over the picture of feature maps (B, C, h, w), or of images as they are (B, H, W, 3)."""
    return seen.float().mean((1, 2) if images else (2, 3))


def _standardized(parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return one part of all tables with mean 0 and a mean square of 1 a frame; 0 where not known."""
    every = np.concatenate(parts).astype(float)
    known = np.isfinite(every)
    count = known.sum(0).clip(1)
    mean = every.sum(0, where=known) / count
    deviation = np.sqrt(((every - mean) ** 2).sum(0, where=known) / count)
    scaled = np.where(known, (every - mean) / np.where(deviation > 0, deviation, 1.0), 0.0).clip(-LARGEST, LARGEST)
    scaled = (scaled / np.sqrt(every.shape[1])).astype(np.float32)
    return np.split(scaled, np.cumsum([len(part) for part in parts])[:-1])


# ---- stretches and what matches them -----------------------------------------------------------


def cut_at_pauses(joints: np.ndarray, hz: float) -> list[slice]:
    """Return the stretches of an episode, joints (T, J) rad: each but the first begins where the arm comes to rest."""
    slow = np.linalg.norm(np.diff(joints, axis=0), axis=1) * hz < PAUSE_RAD_S
    ends = [0]
    for rest in [*(np.flatnonzero(slow[1:] & ~slow[:-1]) + 1), len(joints)]:
        if rest - ends[-1] >= SHORTEST_S * hz:
            ends.append(rest)
    ends = [*ends[: max(len(ends) - 1, 1)], len(joints)]  # what is too short for one of its own ends the last
    return [slice(first, end) for first, end in itertools.pairwise(ends)]


def match_places(
    new: EpisodeTable, described: np.ndarray, old: Sequence[EpisodeTable], prior: Sequence[np.ndarray]
) -> np.ndarray:
    """Return a place for every frame of the old tables in a row: the lower, the sooner it is retrieved.

    That of the first part it lies in: best parts of every stretch, then second best ones, and so on; NOWHERE in none.
    """
    begins = np.cumsum([0, *(len(table.frame) for table in old)])
    parts = []
    for number, stretch in enumerate(_stretches(new)):
        found = [_matches(described[stretch], table, frames) + [[0], [begin], [begin]]
                 for table, frames, begin in zip(old, prior, begins[:-1], strict=True)]  # fmt: skip
        cost, first, end = np.concatenate(found, 1)
        order = np.argsort(cost, kind="stable")
        parts += [(rank, number, int(first[i]), int(end[i])) for rank, i in enumerate(order) if np.isfinite(cost[i])]
    places = np.full(begins[-1], NOWHERE)
    for place, (_, _, first, end) in reversed(list(enumerate(sorted(parts)))):
        places[first:end] = place
    return places


def _stretches(table: EpisodeTable) -> Iterator[slice]:
    for first, length in zip(table.first, table.lengths, strict=True):
        joints = table.state[first : first + length, :-1]
        for one in cut_at_pauses(joints, table.dataset.fps):
            yield slice(first + one.start, first + one.stop)


def _matches(stretch: np.ndarray, table: EpisodeTable, frames: np.ndarray) -> np.ndarray:
    """Return (3, E): cost of the best part of every episode of a table, its first row and the row after its last."""
    rows = table.first[:, None] + np.arange(table.lengths.max())
    beyond = rows >= (table.first + table.lengths)[:, None]
    squares = (stretch**2).sum(1)[:, None] + (frames**2).sum(1) - 2 * stretch @ frames.T
    distance = np.sqrt(squares.clip(0))[:, np.minimum(rows, len(frames) - 1)]
    distance[:, beyond] = np.inf
    cost, first, last = best_part(distance)
    return np.stack([cost, table.first + first, table.first + last + 1])


def best_part(distance: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return cost, first and last frame (E,) of the part of each episode that a stretch is warped onto most cheaply.

    distance: (Q, E, L) between the frames of stretch and episodes, inf beyond an episode's end. From one pair of frames
    a path goes on by one frame of both, or by one of one and two of the other, as in the paper (Muller 2007): so a
    part has half to twice the stretch's length. cost: the sum along the path; inf: nothing fits.
    """
    total, begun = _padded(distance[0]), _padded(np.broadcast_to(np.arange(distance.shape[2]), distance.shape[1:]))
    before, begun_before = np.full_like(total, np.inf), begun
    for row in distance[1:]:
        one, two, skipped = total[:, 1:-1], total[:, :-2], before[:, 1:-1]  # where a path comes from
        least = np.minimum(np.minimum(one, two), skipped)
        since = np.where(one == least, begun[:, 1:-1], np.where(two == least, begun[:, :-2], begun_before[:, 1:-1]))
        total, begun, before, begun_before = _padded(row + least), _padded(since), total, begun
    each, last = np.arange(len(total)), total.argmin(1)
    return total[each, last], begun[each, last], last - 2


def _padded(values: np.ndarray) -> np.ndarray:
    """Return (E, L) after two columns of what is no frame: no path comes from there."""
    nothing = np.inf if values.dtype.kind == "f" else 0
    return np.concatenate([np.full((len(values), 2), nothing, values.dtype), values], 1)
