"""Things that nobody asked for: where they stand and what they are."""

from collections.abc import Mapping

import numpy as np

from sim.randomize.ranges import RandomizeConfig
from sim.scene.layout import AREA_X_M, AREA_Y_M, COLOURS

GAP_M = 0.085  # from everything else
BEYOND_M = 0.06  # they may stand a little outside the area in which the task's things do


def draw(rng: np.random.Generator, ranges: RandomizeConfig, layout: Mapping) -> dict:
    """Distractors for a task's layout: never the same thing in the same colour as one of the task's.

    As many of those drawn as find a free place stand on the table. A layout may name circles that are to
    stay free as `keep_out_m`, flat (3n,): x, y, radius.
    """
    wanted = int(rng.integers(ranges.distractors[0], ranges.distractors[1] + 1)) if ranges.distractors[1] else 0
    taken = set(zip(layout["object_shapes"].split(","), layout["object_colours"].split(","), strict=True))
    circles = [(x, y, GAP_M) for key in ("object_xy_m", "target_xy_m") for x, y in np.reshape(layout[key], (-1, 2))]
    circles += [tuple(circle) for circle in np.reshape(layout.get("keep_out_m", ()), (-1, 3))]
    things: list[tuple[str, str, float, float]] = []
    for _ in range(wanted):
        thing = str(rng.choice(list(ranges.distractor_shapes))), str(rng.choice(list(COLOURS)))
        place = _free_place(rng, circles)
        if place is not None and thing not in taken:
            things.append((*thing, *place))
            circles.append((*place, GAP_M))
    return {
        "clutter": len(things),
        "clutter_shapes": ",".join(thing[0] for thing in things),
        "clutter_colours": ",".join(thing[1] for thing in things),
        "clutter_xy_m": [float(x) for thing in things for x in thing[2:]],
        "clutter_yaw_rad": rng.uniform(-np.pi, np.pi, len(things)).tolist(),
    }


def _free_place(rng: np.random.Generator, circles: list) -> tuple[float, float] | None:
    """A position outside all circles (x, y, radius); None when none was found."""
    for _ in range(50):
        x = rng.uniform(AREA_X_M[0] - BEYOND_M, AREA_X_M[1] + BEYOND_M)
        y = rng.uniform(AREA_Y_M[0] - BEYOND_M, AREA_Y_M[1] + BEYOND_M)
        if np.hypot(x, y) > 0.2 and all(np.hypot(x - cx, y - cy) >= r for cx, cy, r in circles):
            return x, y
    return None
