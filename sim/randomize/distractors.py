"""Distractors: objects beside the task's, never named by the instruction."""

from dataclasses import replace
from typing import TypeVar

import numpy as np

from sim.randomize.ranges import RandomizeConfig
from sim.scene.layout import Circle, Layout, as_points
from sim.scene.placement import AREA_X_M, AREA_Y_M, COLOURS, draw_yaws

LayoutT = TypeVar("LayoutT", bound=Layout)

GAP_M = 0.085  # from everything else
BEYOND_M = 0.06  # they may stand a little outside the area in which the task's things do


def with_distractors(rng: np.random.Generator, ranges: RandomizeConfig, layout: LayoutT) -> LayoutT:
    """Draw distractors for a task's layout: never the same thing in the same colour as one of the task's.

    As many of those drawn as find a free place stand on the table, outside the circles that the layout keeps free.
    """
    wanted = int(rng.integers(ranges.distractors[0], ranges.distractors[1] + 1)) if ranges.distractors[1] else 0
    taken = set(zip(layout.object_shapes, layout.object_colours, strict=True))
    circles = [(x, y, GAP_M) for x, y in (*layout.object_xy_m, *layout.target_xy_m)]
    circles += layout.keep_out_m or ()
    things: list[tuple[str, str, float, float]] = []
    for _ in range(wanted):
        thing = str(rng.choice(list(ranges.distractor_shapes))), str(rng.choice(list(COLOURS)))
        place = _free_place(rng, circles)
        if place is not None and thing not in taken:
            things.append((*thing, *place))
            circles.append((*place, GAP_M))
    return replace(
        layout,
        distractor_shapes=tuple(thing[0] for thing in things),
        distractor_colours=tuple(thing[1] for thing in things),
        distractor_xy_m=as_points(thing[2:] for thing in things),
        distractor_yaw_rad=draw_yaws(rng, len(things)),
    )


def _free_place(rng: np.random.Generator, circles: list[Circle]) -> tuple[float, float] | None:
    """Return a position outside all circles (x, y, radius); None when none was found."""
    for _ in range(50):
        x = rng.uniform(AREA_X_M[0] - BEYOND_M, AREA_X_M[1] + BEYOND_M)
        y = rng.uniform(AREA_Y_M[0] - BEYOND_M, AREA_Y_M[1] + BEYOND_M)
        if np.hypot(x, y) > 0.2 and all(np.hypot(x - cx, y - cy) >= r for cx, cy, r in circles):
            return x, y
    return None
