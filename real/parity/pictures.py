"""Do pictures and joints belong together? The guess under which they do best is named.

Seen by a camera that stands, the arm's silhouette must change where the picture changes; with one
look only, edges must lie where the silhouette's are. Seen by a camera on the arm, the table must
move as the joints say. All three are correlations, -1..1, of brightness alone: what stands on the
table, its colours and the light do not matter.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_gradient_magnitude

from real.parity.guesses import NOTHING, Guess, guesses
from real.parity.recording import Take
from real.parity.view import ModelView

PAIRS = 16  # looks at two moments that are compared
APART = (12, 4)  # frames between the two, for a camera that stands and for one on the arm
LEAST_MOTION_RAD = 0.04  # between the two, summed over the joints
BLUR_PX, HIGH_PASS_PX = 1.5, 5.0
LEAST_SHARE = 0.15  # of the pixels that must be comparable
BETTER = 0.03  # how much better a guess must explain the pictures than nothing wrong does
ROUGHLY, FINALISTS = 4, 8  # by every fourth pair first; so many guesses are looked at closely
ENOUGH = 0.25  # below this nothing is said


@dataclass(frozen=True)
class Shot:
    """One moment: (D,) state in rad and opening, camera -> brightness (H, W)."""

    state: tuple[float, ...]
    grey: dict[str, np.ndarray]


@dataclass(frozen=True)
class Verdict:
    """score, 0..1, of `guess`; upright: the score of nothing wrong."""

    guess: Guess
    score: float
    upright: float

    @property
    def telling(self) -> bool:
        return max(self.score, self.upright) >= ENOUGH


class PictureTest:
    """Shots of one recording against one view."""

    def __init__(self, view: ModelView, cameras: Sequence[str], takes: Sequence[Take]):
        self._view, self._cameras = view, tuple(cameras)
        home = (*view.robot.home_rad, 1.0)
        bent = (home[0] + 0.1, *home[1:])
        self._on_arm = {
            camera: not np.allclose(view.camera_pose(camera, home)[0], view.camera_pose(camera, bent)[0])
            for camera in self._cameras
        }
        self._pairs = {camera: shot_pairs(takes, APART[self._on_arm[camera]]) for camera in self._cameras}
        self._singles = [_shot(take, 0) for take in takes]
        self._scores: dict[tuple, float] = {}

    def verdict(self) -> Verdict:
        """The guess that explains the pictures best; NOTHING unless another does so clearly better."""
        candidates = guesses(self._view.robot, self._cameras, self._view.image_size)
        finalists = sorted(candidates, key=lambda guess: self.score(guess, ROUGHLY), reverse=True)[:FINALISTS]
        upright = self.score(NOTHING)
        best = max(finalists, key=self.score)
        wrong = self.score(best) > max(upright + BETTER, ENOUGH)
        return Verdict(best if wrong else NOTHING, self.score(best) if wrong else upright, upright)

    def score(self, guess: Guess, every: int = 1) -> float:
        """Mean over the cameras of how well pictures and joints belong together under `guess`, by every n-th pair."""
        found = [self._camera_score(camera, guess, every) for camera in self._cameras]
        found = [value for value in found if np.isfinite(value)]
        return float(np.mean(found)) if found else 0.0

    def _camera_score(self, camera: str, guess: Guess, every: int) -> float:
        undo = guess.picture if guess.camera == camera else None
        source = self._cameras[1 - self._cameras.index(camera)] if guess.swaps_cameras else camera
        key = (camera, source, undo, guess.state, every)
        if key not in self._scores:
            found = [value for value in self._scored(*key) if np.isfinite(value)]
            self._scores[key] = float(np.mean(found)) if found else np.nan
        return self._scores[key]

    def _scored(
        self, camera: str, source: str, undo: Callable | None, bend: Callable | None, every: int
    ) -> Iterator[float]:
        def set_right(picture: np.ndarray) -> np.ndarray:
            return picture if undo is None else undo(picture)

        def state(shot: Shot) -> tuple[float, ...]:
            return shot.state if bend is None else tuple(np.round(bend(np.array(shot.state)), 6))

        pairs = self._pairs[camera][::every]
        for a, b in pairs:
            before, after = a.grey[source], b.grey[source]
            if self._on_arm[camera]:
                yield self._table(camera, set_right(detail(before)), state(a), set_right(detail(after)), state(b))
            else:
                yield self._motion(camera, set_right(change(before, after)), state(a), state(b))
        if not pairs and not self._on_arm[camera]:
            for shot in self._singles:
                yield self._outline(camera, set_right(edges(shot.grey[source])), state(shot))

    def _motion(self, camera: str, changed: np.ndarray, *states: tuple[float, ...]) -> float:
        silhouettes = (self._view.silhouette(camera, state) for state in states)
        return correlation(changed, gaussian_filter(np.logical_xor(*silhouettes).astype(float), BLUR_PX))

    def _outline(self, camera: str, edges_seen: np.ndarray, state: tuple[float, ...]) -> float:
        return correlation(edges_seen, edges(self._view.silhouette(camera, state).astype(float)))

    def _table(
        self, camera: str, before: np.ndarray, here: tuple[float, ...], after: np.ndarray, there: tuple[float, ...]
    ) -> float:
        masks = [self._view.silhouette(camera, state).astype(float) for state in (here, there)]
        carried, hidden = self._view.carry(np.stack([before, masks[0]]), camera, here, there)
        carried[(hidden > 0) | (masks[1] > 0)] = np.nan
        return correlation(carried, after)


def change(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(H, W) how much brightness changed, blurred."""
    return np.abs(gaussian_filter(after - before, BLUR_PX))


def detail(picture: np.ndarray) -> np.ndarray:
    """(H, W) without slow changes of brightness."""
    return picture - gaussian_filter(picture, HIGH_PASS_PX)


def edges(picture: np.ndarray) -> np.ndarray:
    """(H, W) how steep brightness is."""
    return gaussian_gradient_magnitude(picture, BLUR_PX)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's, over the pixels known in both; nan when they are too few or one is flat."""
    known = np.isfinite(a) & np.isfinite(b)
    if known.mean() < LEAST_SHARE:
        return np.nan
    a, b = a[known] - a[known].mean(), b[known] - b[known].mean()
    norm = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / norm) if norm > 0 else np.nan


def shot_pairs(takes: Sequence[Take], apart: int) -> list[tuple[Shot, Shot]]:
    """At most PAIRS moments and what came `apart` frames later, evenly spread over where the arm moves."""
    moving = [
        (take, begin)
        for take in takes
        for begin in range(len(take.state) - apart)
        if np.abs(take.state[begin + apart] - take.state[begin])[:-1].sum() > LEAST_MOTION_RAD
    ]
    chosen = np.linspace(0, len(moving) - 1, min(PAIRS, len(moving))).astype(int)
    return [(_shot(take, begin), _shot(take, begin + apart)) for take, begin in (moving[i] for i in chosen)]


def _shot(take: Take, frame: int) -> Shot:
    grey = {camera: images[frame].mean(axis=2) for camera, images in take.images.items()}
    return Shot(tuple(np.round(take.state[frame].astype(float), 6)), grey)
