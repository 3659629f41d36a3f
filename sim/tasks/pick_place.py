"""Pick and place: "put the red cube on the blue plate".

What is placed, what is wanted, when it is over, how an expert does it. Stepping, seeing and varying live elsewhere.
"""

from collections.abc import Mapping
from math import hypot

import mujoco
import numpy as np

from sim.planning.motion_planner import MotionPlanner
from sim.randomize.ranges import RandomizeConfig
from sim.scene import fixtures
from sim.scene.build import Scene
from sim.scene.fixtures import PLATE_RADIUS_M, PLATE_TOP_M
from sim.scene.layout import draw_colours, draw_places, draw_shapes, half_height_m, is_held, speed_m_s
from sim.scene.layout import stand as apply_layout
from sim.tasks.instructions import say

NAME = "pick_place"
TIME_LIMIT_S = 15.0
SETTLED_PERIODS = 4  # success must hold for 0.2 s
OBJECTS = TARGETS = 3
SENTENCES = (
    "put the {object} on the {target}",
    "place the {object} onto the {target}",
    "pick up the {object} and put it on the {target}",
    "move the {object} to the {target}",
    "set the {object_too} down on the {target}",
    "take the {object_too} and place it on the {target_too}",
    "the {object} goes on the {target}",
    "I want the {object_too} on the {target_too}",
)
GRAMMAR = (
    "{please}{put} the {object} {on} the {target}",
    "{please}{take} the {object} and {put} it {on} the {target}",
    "{please}{bring} the {object} to the {target}",
    "the {object} belongs {on} the {target}",
    "{on} the {target} {put} the {object}",
    "find the {object} and {bring} it to the {target}",
)
ON_PLATE_M = PLATE_RADIUS_M - 0.005
MIN_GAP_M = {("object", "object"): 0.092, ("object", "plate"): 0.095, ("plate", "plate"): 0.110}


def add_targets(spec: mujoco.MjSpec) -> None:
    """Three plates."""
    for i in range(TARGETS):
        fixtures.add_plate(spec, i)


def draw_layout(rng: np.random.Generator, ranges: RandomizeConfig) -> dict:
    """Where things stand and what is asked for. Index 0 is the named object and the named plate."""
    objects, plates = int(rng.integers(1, OBJECTS + 1)), int(rng.integers(1, TARGETS + 1))
    placed = draw_places(rng, gaps_m(["plate"] * plates + ["object"] * objects))
    colours, plate_colours = draw_colours(rng, objects), draw_colours(rng, plates)
    shapes = draw_shapes(rng, ranges.shapes, objects)
    things = {"object": (colours[0], shapes[0]), "target": (plate_colours[0], "plate")}
    wording, sentence = say(rng, ranges.paraphrase, SENTENCES, GRAMMAR, **things)
    return {
        "objects": objects,
        "targets": plates,
        "object_shapes": ",".join(shapes),
        "object_colours": ",".join(colours),
        "target_colours": ",".join(plate_colours),
        "target_xy_m": placed[:plates].ravel().tolist(),
        "object_xy_m": placed[plates:].ravel().tolist(),
        "object_yaw_rad": rng.uniform(-np.pi, np.pi, objects).tolist(),
        "wording": wording,
        "instruction": sentence,
    }


def gaps_m(kinds: list[str]) -> np.ndarray:
    """(n, n) smallest distances between things of these kinds."""
    return np.array([[MIN_GAP_M[min(a, b), max(a, b)] for b in kinds] for a in kinds])


def object_pos_w(scene: Scene, data: mujoco.MjData, layout: Mapping) -> np.ndarray:
    """(3,) centre of the named object in the world frame, m."""
    return data.xpos[scene.objects[0]].copy()


def target_pos_w(scene: Scene, data: mujoco.MjData, layout: Mapping) -> np.ndarray:
    """(3,) centre of the top of the named plate in the world frame, m."""
    return data.xpos[scene.targets[0]] + [0, 0, PLATE_TOP_M]


def is_done(scene: Scene, data: mujoco.MjData, layout: Mapping) -> bool:
    """The named object stands on the named plate, let go and still."""
    return stands_on_plate(scene, data, layout, 0)


def stands_on_plate(scene: Scene, data: mujoco.MjData, layout: Mapping, i: int) -> bool:
    """Object `i` stands on plate `i`, let go and still."""
    x, y, z = (data.xpos[scene.objects[i]] - data.xpos[scene.targets[i]]).tolist()
    on_plate = hypot(x, y) <= ON_PLATE_M and abs(z - PLATE_TOP_M - half_height_m(layout, i)) <= 0.008
    return on_plate and speed_m_s(scene, data, i) < 0.05 and not is_held(scene, data, i)


def plan(planner: MotionPlanner, layout: Mapping) -> None:
    """The legs that lead from here to success, whatever has happened before."""
    if is_done(planner.scene, planner.data, layout):
        planner.retreat()
        return
    if not planner.holds(0):
        planner.pick(0)
    target_w = target_pos_w(planner.scene, planner.data, layout)
    planner.place(0, target_w + [*planner.style.place_offset_m, 0.0])


__all__ = ["NAME", "OBJECTS", "SETTLED_PERIODS", "TARGETS", "TIME_LIMIT_S", "add_targets", "apply_layout",
           "draw_layout", "is_done", "object_pos_w", "plan", "target_pos_w"]  # fmt: skip
