"""Check whether images agree with joint angles, and find the hypothesis under which they agree best.

In a fixed camera's images the arm's silhouette must change where the image changes; with a single
frame, edges must lie where the silhouette's are. In the images of a camera on the arm the table must
move as the joints imply. All three are correlations, -1..1, of brightness alone: the objects on the
table, their colours and the light do not matter.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_gradient_magnitude

from real.parity.arm_renderer import ArmRenderer
from real.parity.hypotheses import NO_FAULT, Hypothesis, hypotheses
from real.parity.recording import Trajectory

PAIRS = 16  # pairs of frames that are compared
APART = (12, 4)  # frames between the two, for a fixed camera and for one on the arm
LEAST_MOTION_RAD = 0.04  # between the two, summed over the joints
BLUR_PX, HIGH_PASS_PX = 1.5, 5.0
LEAST_SHARE = 0.15  # of the pixels that must be comparable
BETTER = 0.03  # by how much a hypothesis must agree better than none
COARSE, FINALISTS = 4, 8  # every fourth pair first; so many hypotheses are then compared on all pairs
ENOUGH = 0.25  # scores below this are inconclusive


@dataclass(frozen=True)
class Snapshot:
    """One frame: (D,) state in rad and opening, camera -> brightness (H, W)."""

    state: tuple[float, ...]
    grey: dict[str, np.ndarray]


@dataclass(frozen=True)
class Verdict:
    """score, 0..1, of `hypothesis`; baseline: the score of NO_FAULT."""

    hypothesis: Hypothesis
    score: float
    baseline: float

    @property
    def conclusive(self) -> bool:
        return max(self.score, self.baseline) >= ENOUGH


class AlignmentTest:
    """Snapshots of one recording against one renderer."""

    def __init__(self, renderer: ArmRenderer, cameras: Sequence[str], trajectories: Sequence[Trajectory]):
        self._renderer, self._cameras = renderer, tuple(cameras)
        home = (*renderer.robot.home_rad, 1.0)
        bent = (home[0] + 0.1, *home[1:])
        self._on_arm = {
            camera: not np.allclose(renderer.camera_pose(camera, home)[0], renderer.camera_pose(camera, bent)[0])
            for camera in self._cameras
        }
        self._pairs = {camera: snapshot_pairs(trajectories, APART[self._on_arm[camera]]) for camera in self._cameras}
        self._singles = [_snapshot(trajectory, 0) for trajectory in trajectories]
        self._scores: dict[tuple, float] = {}

    def verdict(self) -> Verdict:
        """Return the hypothesis under which images and joints agree best; NO_FAULT unless another is clearly better."""
        candidates = hypotheses(self._renderer.robot, self._cameras, self._renderer.image_size)
        finalists = sorted(candidates, key=lambda hypothesis: self.score(hypothesis, COARSE), reverse=True)[:FINALISTS]
        baseline = self.score(NO_FAULT)
        best = max(finalists, key=self.score)
        wrong = self.score(best) > max(baseline + BETTER, ENOUGH)
        return Verdict(best if wrong else NO_FAULT, self.score(best) if wrong else baseline, baseline)

    def score(self, hypothesis: Hypothesis, every: int = 1) -> float:
        """Return the mean agreement of images and joints over the cameras under `hypothesis`, by every n-th pair."""
        found = [self._camera_score(camera, hypothesis, every) for camera in self._cameras]
        found = [value for value in found if np.isfinite(value)]
        return float(np.mean(found)) if found else 0.0

    def _camera_score(self, camera: str, hypothesis: Hypothesis, every: int) -> float:
        undo = hypothesis.image if hypothesis.camera == camera else None
        source = self._cameras[1 - self._cameras.index(camera)] if hypothesis.swaps_cameras else camera
        key = (camera, source, undo, hypothesis.state, every)
        if key not in self._scores:
            found = [value for value in self._scored(*key) if np.isfinite(value)]
            self._scores[key] = float(np.mean(found)) if found else np.nan
        return self._scores[key]

    def _scored(
        self, camera: str, source: str, undo: Callable | None, recalibrate: Callable | None, every: int
    ) -> Iterator[float]:
        def corrected(image: np.ndarray) -> np.ndarray:
            return image if undo is None else undo(image)

        def state(snapshot: Snapshot) -> tuple[float, ...]:
            return snapshot.state if recalibrate is None else tuple(np.round(recalibrate(np.array(snapshot.state)), 6))

        pairs = self._pairs[camera][::every]
        for a, b in pairs:
            before, after = a.grey[source], b.grey[source]
            if self._on_arm[camera]:
                yield self._table(camera, corrected(detail(before)), state(a), corrected(detail(after)), state(b))
            else:
                yield self._motion(camera, corrected(change(before, after)), state(a), state(b))
        if not pairs and not self._on_arm[camera]:
            for snapshot in self._singles:
                yield self._outline(camera, corrected(edges(snapshot.grey[source])), state(snapshot))

    def _motion(self, camera: str, changed: np.ndarray, *states: tuple[float, ...]) -> float:
        silhouettes = (self._renderer.silhouette(camera, state) for state in states)
        return correlation(changed, gaussian_filter(np.logical_xor(*silhouettes).astype(float), BLUR_PX))

    def _outline(self, camera: str, edges_seen: np.ndarray, state: tuple[float, ...]) -> float:
        return correlation(edges_seen, edges(self._renderer.silhouette(camera, state).astype(float)))

    def _table(
        self, camera: str, before: np.ndarray, here: tuple[float, ...], after: np.ndarray, there: tuple[float, ...]
    ) -> float:
        masks = [self._renderer.silhouette(camera, state).astype(float) for state in (here, there)]
        warped, hidden = self._renderer.warp_table(np.stack([before, masks[0]]), camera, here, there)
        warped[(hidden > 0) | (masks[1] > 0)] = np.nan
        return correlation(warped, after)


def change(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return (H, W) blurred change of brightness."""
    return np.abs(gaussian_filter(after - before, BLUR_PX))


def detail(image: np.ndarray) -> np.ndarray:
    """Return (H, W) high-pass filtered brightness."""
    return image - gaussian_filter(image, HIGH_PASS_PX)


def edges(image: np.ndarray) -> np.ndarray:
    """Return (H, W) magnitude of the brightness gradient."""
    return gaussian_gradient_magnitude(image, BLUR_PX)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return Pearson's correlation, over the pixels known in both; nan when they are too few or one is flat."""
    known = np.isfinite(a) & np.isfinite(b)
    if known.mean() < LEAST_SHARE:
        return np.nan
    a, b = a[known] - a[known].mean(), b[known] - b[known].mean()
    norm = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / norm) if norm > 0 else np.nan


def snapshot_pairs(trajectories: Sequence[Trajectory], apart: int) -> list[tuple[Snapshot, Snapshot]]:
    """Return at most PAIRS pairs of frames, `apart` frames from each other, spread evenly over where the arm moves."""
    moving = [
        (trajectory, begin)
        for trajectory in trajectories
        for begin in range(len(trajectory.state) - apart)
        if np.abs(trajectory.state[begin + apart] - trajectory.state[begin])[:-1].sum() > LEAST_MOTION_RAD
    ]
    chosen = np.linspace(0, len(moving) - 1, min(PAIRS, len(moving))).astype(int)
    return [
        (_snapshot(trajectory, begin), _snapshot(trajectory, begin + apart))
        for trajectory, begin in (moving[i] for i in chosen)
    ]


def _snapshot(trajectory: Trajectory, frame: int) -> Snapshot:
    grey = {camera: images[frame].mean(axis=2) for camera, images in trajectory.images.items()}
    return Snapshot(tuple(np.round(trajectory.state[frame].astype(float), 6)), grey)
