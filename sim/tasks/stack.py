"""Stack: "stack the red cube on the blue cube", with a third cube about in some episodes."""

from collections.abc import Mapping

import mujoco
import numpy as np

from sim.planning.motion_planner import MotionPlanner
from sim.randomize.ranges import RandomizeConfig
from sim.scene.build import Scene
from sim.scene.layout import draw_colours, draw_places, half_height_m, is_held, speed_m_s
from sim.scene.layout import stand as apply_layout
from sim.tasks.instructions import say

NAME = "stack"
TIME_LIMIT_S = 17.0
SETTLED_PERIODS = 4  # success must hold for 0.2 s
SHAPES = ("cube",)
OBJECTS, TARGETS = 3, 0
NAMED, BASE = 0, 1  # objects
SENTENCES = (
    "stack the {object} on the {target}",
    "put the {object} on top of the {target}",
    "pick up the {object} and stack it on the {target}",
    "place the {object_too} on the {target_too}",
    "set the {object} down on top of the {target_too}",
    "the {object_too} goes on top of the {target}",
    "move the {object} onto the {target}",
    "I want the {object_too} on the {target_too}",
)
GRAMMAR = (
    "{please}{stack} the {object} {on} the {target}",
    "{please}{take} the {object} and {stack} it {on} the {target}",
    "build a tower, the {object} {on} the {target}",
    "the {object} belongs {on} the {target}",
    "{on} the {target} {put} the {object}",
    "find the {object} and {bring} it on top of the {target}",
)
GAP_M = 0.095  # between cubes
OVER_M = 0.030  # sideways: nearer, a cube that is higher lies on the other
OFFSET_SHARE = 0.6  # of where the style would let go beside the middle of a plate: a cube is smaller
CLEARANCE_M = 0.035  # of carrying over a plate's height


def add_targets(spec: mujoco.MjSpec) -> None:
    """None: a cube is put on a cube."""


def draw_layout(rng: np.random.Generator, ranges: RandomizeConfig) -> dict:
    """Two or three cubes and what is asked for. Object 0 is to stand on object 1."""
    cubes = int(rng.integers(2, OBJECTS + 1))
    placed, colours = draw_places(rng, np.full((cubes, cubes), GAP_M)), draw_colours(rng, cubes)
    things = {"object": (colours[NAMED], "cube"), "target": (colours[BASE], "cube")}
    wording, sentence = say(rng, ranges.paraphrase, SENTENCES, GRAMMAR, **things)
    return {
        "objects": cubes,
        "object_shapes": ",".join(["cube"] * cubes),
        "object_colours": ",".join(colours),
        "object_xy_m": placed.ravel().tolist(),
        "object_yaw_rad": rng.uniform(-np.pi, np.pi, cubes).tolist(),
        "target_colours": "",
        "target_xy_m": [],
        "wording": wording,
        "instruction": sentence,
    }


def object_pos_w(scene: Scene, data: mujoco.MjData, layout: Mapping) -> np.ndarray:
    """(3,) centre of the named cube in the world frame, m."""
    return data.xpos[scene.objects[NAMED]].copy()


def target_pos_w(scene: Scene, data: mujoco.MjData, layout: Mapping) -> np.ndarray:
    """(3,) centre of the top of the cube to stack on, in the world frame, m."""
    return data.xpos[scene.objects[BASE]] + [0, 0, half_height_m(layout, BASE)]


def is_done(scene: Scene, data: mujoco.MjData, layout: Mapping) -> bool:
    """The named cube stands on the other one, that one on the table, both let go and still."""
    half_m, base_m = half_height_m(layout, NAMED), half_height_m(layout, BASE)
    offset = object_pos_w(scene, data, layout) - target_pos_w(scene, data, layout)
    stacked = np.hypot(offset[0], offset[1]) <= base_m and abs(offset[2] - half_m) <= 0.006
    on_table = abs(data.xpos[scene.objects[BASE], 2] - base_m) <= 0.006
    free = all(speed_m_s(scene, data, i) < 0.05 and not is_held(scene, data, i) for i in (NAMED, BASE))
    return bool(stacked and on_table and free)


def plan(planner: MotionPlanner, layout: Mapping) -> None:
    """The legs that lead from here to success, whatever has happened before."""
    if is_done(planner.scene, planner.data, layout):
        planner.retreat()
        return
    holds = planner.holds(NAMED)
    on_top = _on_top(planner, layout["objects"])
    if on_top is not None and not holds:
        planner.put_aside(on_top)
        return
    if not holds:
        planner.pick(NAMED)
    offset_m = OFFSET_SHARE * planner.style.place_offset_m
    top_w = target_pos_w(planner.scene, planner.data, layout) + [*offset_m, 0.0]
    planner.place(NAMED, top_w, yaw_rad=planner.grasp_yaw(BASE), carry_m=planner.style.carry_m + CLEARANCE_M)


def _on_top(planner: MotionPlanner, cubes: int) -> int | None:
    """A cube that lies on the one to take or, not being that one, on the one to stack on."""
    for k in range(1, cubes):
        for below in {NAMED, BASE} - {k}:
            above = planner.object_w(k) - planner.object_w(below)
            if np.hypot(above[0], above[1]) < OVER_M and above[2] > 0.02:
                return k
    return None


__all__ = ["NAME", "OBJECTS", "SETTLED_PERIODS", "SHAPES", "TARGETS", "TIME_LIMIT_S", "add_targets", "apply_layout",
           "draw_layout", "is_done", "object_pos_w", "plan", "target_pos_w"]  # fmt: skip
