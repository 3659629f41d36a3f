"""Recorded episodes in a report: the images of all cameras side by side, and what was computed along them.

Shapes: T frames of an episode.
"""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from policies.report.description import Timeline
from sim.dataset.reader import Dataset
from sim.envs.video import encoded

HEIGHT = 288  # px that small images are enlarged to
WIDTH, PLOT_HEIGHT, MARGIN = 600, 96, 6  # of a timeline, in its own units


@dataclass(frozen=True)
class Shown:
    """A video in the page."""

    data: str  # base64 of the mp4
    caption: str
    success: bool | None  # None: cut off by a fault or a stop, it tells no outcome
    timeline: str = ""  # SVG under it


def embedded(path: Path) -> str:
    """Return a file's content as base64."""
    return base64.b64encode(path.read_bytes()).decode()


def recorded(dataset: Dataset, episode: int, timeline: str = "") -> Shown:
    """Return the video of a recorded episode. The dataset must have cameras."""
    views = [dataset.images(episode, camera) for camera in dataset.features.cameras]
    times = max(1, HEIGHT // views[0].shape[1])
    frames = np.concatenate(views, 2).repeat(times, 1).repeat(times, 2)
    data = base64.b64encode(encoded(list(frames), dataset.fps)).decode()
    return Shown(data, dataset.instruction(episode), dataset.outcome(episode), timeline)


def with_timelines(root: Path, timelines: Sequence[Timeline]) -> Iterator[Shown]:
    """Yield the videos of a run's timelines; those whose dataset is gone or has no images are left out."""
    for one in timelines:
        folder = root / one.dataset
        if folder.is_dir() and (dataset := Dataset(folder)).features.cameras:
            yield recorded(dataset, one.episode, draw(one))


def draw(timeline: Timeline) -> str:
    """Return an SVG: the value over time before bands of how frames were labelled, and a line that the page moves."""
    low, high = min(timeline.value), max(timeline.value)
    x = np.linspace(0, WIDTH, len(timeline.value) + 1)
    y = MARGIN + (PLOT_HEIGHT - 2 * MARGIN) * (high - np.array(timeline.value)) / max(high - low, 1e-6)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=False))
    bands = "".join(
        f'<rect class="{"good" if good else "bad"}" x="{x[first]:.1f}" width="{x[last] - x[first]:.1f}" '
        f'y="0" height="{PLOT_HEIGHT}"/>'
        for first, last, good in runs(timeline.good)
    )
    return (
        f'<svg class="timeline" viewBox="0 0 {WIDTH} {PLOT_HEIGHT}" preserveAspectRatio="none">{bands}'
        f'<polyline points="{points}"/><line class="now" x1="0" x2="0" y1="0" y2="{PLOT_HEIGHT}"/>'
        f"<title>value from {low:.2f} to {high:.2f}</title></svg>"
    )


def runs(flags: Sequence[bool]) -> Iterator[tuple[int, int, bool]]:
    """Yield first frame, frame after the last, and value of every run of equal flags."""
    changes = (np.flatnonzero(np.diff(np.asarray(flags, np.int8))) + 1).tolist()
    for first, last in zip([0, *changes], [*changes, len(flags)], strict=True):
        yield first, last, flags[first]
