"""Distractors: objects beside the task's, never named by the instruction."""

from collections.abc import Set
from dataclasses import replace
from typing import TypeVar

import numpy as np

from sim.randomize.ranges import RandomizeConfig
from sim.scene.fixtures import PLATE_RADIUS_M, ZONE_RADIUS_M
from sim.scene.layout import Circle, Layout, as_points
from sim.scene.parts import MAX_SCALE
from sim.scene.placement import AREA_X_M, AREA_Y_M, COLOURS, draw_yaws
from sim.scene.shapes import SHAPES

LayoutT = TypeVar("LayoutT", bound=Layout)

GAP_M = 0.085  # between the middles of two things, at least: room for the fingers
TARGET_RADIUS_M = max(PLATE_RADIUS_M, ZONE_RADIUS_M)  # blocks and buttons are no larger
BEYOND_M = 0.06  # they may stand a little outside the area in which the task's things do


def with_distractors(
    rng: np.random.Generator, ranges: RandomizeConfig, layout: LayoutT, taken: Set[tuple[str, str]]
) -> LayoutT:
    """Draw distractors for a task's layout: none of the shapes in the colours that are taken, by `Task.taken`.

    As many of those drawn as find a free place stand on the table, outside the circles that the layout keeps free.
    """
    wanted = int(rng.integers(ranges.distractors[0], ranges.distractors[1] + 1)) if ranges.distractors[1] else 0
    circles = [(*xy, _radius_m(shape)) for xy, shape in zip(layout.object_xy_m, layout.object_shapes, strict=True)]
    circles += [(*xy, TARGET_RADIUS_M) for xy in layout.target_xy_m]
    things: list[tuple[str, str, float, float]] = []
    for _ in range(wanted):
        thing = str(rng.choice(list(ranges.distractor_shapes))), str(rng.choice(list(COLOURS)))
        radius_m = _radius_m(thing[0])
        keep_out = [(x, y, max(GAP_M, other_m + radius_m)) for x, y, other_m in circles]
        place = _free_place(rng, [*keep_out, *(layout.keep_out_m or ())])
        if place is not None and thing not in taken:
            things.append((*thing, *place))
            circles.append((*place, radius_m))
    return replace(
        layout,
        distractor_shapes=tuple(thing[0] for thing in things),
        distractor_colours=tuple(thing[1] for thing in things),
        distractor_xy_m=as_points(thing[2:] for thing in things),
        distractor_yaw_rad=draw_yaws(rng, len(things)),
    )


def _radius_m(shape: str) -> float:
    """Return how far a shape reaches from its middle, as large as an episode may make it."""
    return SHAPES[shape].radius_m * MAX_SCALE


def _free_place(rng: np.random.Generator, circles: list[Circle]) -> tuple[float, float] | None:
    """Return a position outside all circles (x, y, radius); None when none was found."""
    for _ in range(50):
        x = rng.uniform(AREA_X_M[0] - BEYOND_M, AREA_X_M[1] + BEYOND_M)
        y = rng.uniform(AREA_Y_M[0] - BEYOND_M, AREA_Y_M[1] + BEYOND_M)
        if np.hypot(x, y) > 0.2 and all(np.hypot(x - cx, y - cy) >= r for cx, cy, r in circles):
            return x, y
    return None
