"""Sort: "sort the cubes onto the plates of their colour". A long task: one instruction, three named sub-tasks.

Cube `i` belongs on plate `i`. The cubes are numbered from the arm's left to its right as they lie in the beginning, so
that a picture tells which one an expert takes next.
"""

from collections.abc import Mapping

import mujoco
import numpy as np

from sim.planning.motion_planner import MotionPlanner
from sim.randomize.ranges import RandomizeConfig
from sim.scene import fixtures
from sim.scene.build import Scene
from sim.scene.fixtures import PLATE_TOP_M
from sim.scene.layout import draw_colours, draw_places
from sim.scene.layout import stand as apply_layout
from sim.tasks.instructions import say, thing
from sim.tasks.pick_place import gaps_m, stands_on_plate

NAME = "sort"
TIME_LIMIT_S = 45.0
SETTLED_PERIODS = 4  # success must hold for 0.2 s
SHAPES = ("cube",)
OBJECTS = TARGETS = 3
SENTENCES = (
    "sort the cubes onto the plates of their colour",
    "put each cube on the plate of its colour",
    "place every block onto the plate of the same colour",
    "sort the blocks by colour onto the plates",
    "match the cubes with the plates by colour",
    "every cube goes on the dish of its own colour",
    "move each cube to the plate of its colour",
    "I want every block on the plate of its colour",
)
GRAMMAR = (
    "{please}{put} each cube {on} the plate of its colour",
    "{please}{put} every block {on} the dish of the same colour",
    "{please}sort the blocks by colour {on} the plates",
    "each cube belongs {on} the plate that has its colour",
    "{please}{take} the cubes one by one and {put} each {on} the plate of its colour",
    "{bring} each block to the dish of its own colour",
)
SUBTASK = "put the {} on the {}"
CLEARANCE_M = 0.03  # of carrying over cubes that stand on plates
OVER_M = 0.045  # sideways: a cube nearer to the middle of a plate is in the way of another


def add_targets(spec: mujoco.MjSpec) -> None:
    """Three plates."""
    for i in range(TARGETS):
        fixtures.add_plate(spec, i)


def draw_layout(rng: np.random.Generator, ranges: RandomizeConfig) -> dict:
    """Where cubes and plates stand and what is asked for."""
    placed = draw_places(rng, gaps_m(["plate"] * TARGETS + ["object"] * OBJECTS))
    cubes_m = sorted(placed[TARGETS:].tolist(), key=lambda xy: xy[1])  # the arm looks along -x: its left is -y
    colours = draw_colours(rng, OBJECTS)
    wording, sentence = say(rng, ranges.paraphrase, SENTENCES, GRAMMAR)
    return {
        "objects": OBJECTS,
        "targets": TARGETS,
        "object_shapes": ",".join(["cube"] * OBJECTS),
        "object_colours": ",".join(colours),
        "target_colours": ",".join(colours),
        "target_xy_m": placed[:TARGETS].ravel().tolist(),
        "object_xy_m": np.ravel(cubes_m).tolist(),
        "object_yaw_rad": rng.uniform(-np.pi, np.pi, OBJECTS).tolist(),
        "subtasks": ";".join(SUBTASK.format(thing(colour, "cube"), thing(colour, "plate")) for colour in colours),
        "wording": wording,
        "instruction": sentence,
    }


def subtasks_done(scene: Scene, data: mujoco.MjData, layout: Mapping) -> int:
    """How many cubes stand on the plates of their colour, let go and still."""
    return sum(_sorted(scene, data, layout))


def is_done(scene: Scene, data: mujoco.MjData, layout: Mapping) -> bool:
    """All of them do."""
    return all(_sorted(scene, data, layout))


def object_pos_w(scene: Scene, data: mujoco.MjData, layout: Mapping) -> np.ndarray:
    """(3,) centre of the first cube that is not sorted yet (the last one if all are) in the world frame, m."""
    return data.xpos[scene.objects[_current(scene, data, layout)]].copy()


def target_pos_w(scene: Scene, data: mujoco.MjData, layout: Mapping) -> np.ndarray:
    """(3,) centre of the top of the plate of that cube's colour in the world frame, m."""
    return data.xpos[scene.targets[_current(scene, data, layout)]] + [0, 0, PLATE_TOP_M]


def _sorted(scene: Scene, data: mujoco.MjData, layout: Mapping) -> list[bool]:
    return [stands_on_plate(scene, data, layout, i) for i in range(OBJECTS)]


def _current(scene: Scene, data: mujoco.MjData, layout: Mapping) -> int:
    done = _sorted(scene, data, layout)
    return OBJECTS - 1 if all(done) else done.index(False)


def plan(planner: MotionPlanner, layout: Mapping) -> None:
    """The legs of one sub-task: that of the cube in the hand, else the first that is left and whose plate is free."""
    done = _sorted(planner.scene, planner.data, layout)
    left = [i for i in range(OBJECTS) if not done[i]]
    if not left:
        planner.retreat()
        return
    held = next((i for i in left if planner.holds(i)), None)
    free = [i for i in left if not _occupied(planner, i)]
    if held is None and free:
        planner.pick(free[0])
        held = free[0]
    if held is None or held not in free:  # cubes on one another's plates
        planner.put_aside(left[0] if held is None else held)
        return
    plate_w = planner.data.xpos[planner.scene.targets[held]] + [*planner.style.place_offset_m, PLATE_TOP_M]
    planner.place(held, plate_w, carry_m=planner.style.carry_m + CLEARANCE_M)


def _occupied(planner: MotionPlanner, plate: int) -> bool:
    """A cube that does not belong there is over the plate."""
    plate_w = planner.data.xpos[planner.scene.targets[plate]]
    others = [planner.object_w(k)[:2] for k in range(OBJECTS) if k != plate]
    return bool(min(np.linalg.norm(other_w - plate_w[:2]) for other_w in others) < OVER_M)


__all__ = ["NAME", "OBJECTS", "SETTLED_PERIODS", "SHAPES", "TARGETS", "TIME_LIMIT_S", "add_targets", "apply_layout",
           "draw_layout", "is_done", "object_pos_w", "plan", "subtasks_done", "target_pos_w"]  # fmt: skip
