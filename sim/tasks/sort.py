"""Sort: "sort the cubes onto the plates of their colour". A long task: one instruction, three named sub-tasks.

Cube `i` belongs on plate `i`. The cubes are numbered from the arm's left to its right as they lie in the beginning, so
that an image shows which one an expert takes next.
"""

import mujoco
import numpy as np

from sim.planning.motion_planner import MotionPlanner
from sim.randomize.ranges import RandomizeConfig
from sim.scene import fixtures
from sim.scene.fixtures import PLATE_TOP_M
from sim.scene.layout import Layout, as_points
from sim.scene.placement import draw_colours, draw_places, draw_yaws
from sim.scene.state import SceneState
from sim.tasks.base import Task, register_task
from sim.tasks.pick_place import gaps_m, stands_on_plate
from sim.tasks.steps import sort_step

CUBES = 3
CLEARANCE_M = 0.03  # of carrying over cubes that stand on plates
OVER_M = 0.045  # sideways: a cube nearer to the middle of a plate is in the way of another


@register_task("sort")
class Sort(Task):
    """Every cube goes onto the plate of its colour."""

    time_limit_s = 45.0
    success_text = "every cube on the plate of its colour, released and at rest"
    object_shapes = ("cube",)
    max_objects = max_targets = CUBES
    handled_objects = tuple(range(CUBES))
    sentences = (
        "sort the cubes onto the plates of their colour",
        "put each cube on the plate of its colour",
        "place every block onto the plate of the same colour",
        "sort the blocks by colour onto the plates",
        "match the cubes with the plates by colour",
        "every cube goes on the dish of its own colour",
        "move each cube to the plate of its colour",
        "I want every block on the plate of its colour",
    )
    grammar = (
        "{please}{put} each cube {on} the plate of its colour",
        "{please}{put} every block {on} the dish of the same colour",
        "{please}sort the blocks by colour {on} the plates",
        "each cube belongs {on} the plate that has its colour",
        "{please}{take} the cubes one by one and {put} each {on} the plate of its colour",
        "{bring} each block to the dish of its own colour",
    )

    def add_targets(self, spec: mujoco.MjSpec) -> None:
        """Add three plates."""
        for i in range(CUBES):
            fixtures.add_plate(spec, i)

    def draw_layout(self, rng: np.random.Generator, ranges: RandomizeConfig) -> Layout:
        """Draw where cubes and plates stand and what is asked for."""
        placed = draw_places(rng, gaps_m(["plate"] * CUBES + ["object"] * CUBES))
        cubes_m = sorted(placed[CUBES:].tolist(), key=lambda xy: xy[1])  # the arm looks along -x: its left is -y
        colours = draw_colours(rng, CUBES)
        wording, sentence = self.sample_instruction(rng, ranges.paraphrase)
        return Layout(
            instruction=sentence, wording=wording,
            object_shapes=("cube",) * CUBES, object_colours=colours, object_xy_m=as_points(cubes_m),
            object_yaw_rad=draw_yaws(rng, CUBES),
            target_colours=colours, target_xy_m=as_points(placed[:CUBES]),
            subtasks=tuple(map(sort_step, colours)),
        )  # fmt: skip

    def subtasks_done(self, state: SceneState) -> int:
        """Return how many cubes stand on the plates of their colour, released and at rest."""
        return sum(_sorted(state))

    def is_done(self, state: SceneState) -> bool:
        """Return whether all cubes stand on the plates of their colour, released and at rest."""
        return all(_sorted(state))

    def object_pos_w(self, state: SceneState) -> np.ndarray:
        """Return the centre of the first cube that is not sorted yet, of the last one if all are."""
        return self.step_points_w(state, _current(state))["object"]

    def target_pos_w(self, state: SceneState) -> np.ndarray:
        """Return the centre of the top of the plate of that cube's colour."""
        return self.step_points_w(state, _current(state))["target"]

    def step_points_w(self, state: SceneState, step: int) -> dict[str, np.ndarray]:
        """Return where the cube of a step is and where the top of its plate."""
        return {"object": state.object_pos_w(step), "target": state.target_pos_w(step) + [0, 0, PLATE_TOP_M]}

    def graspable(self, state: SceneState) -> int | None:
        """Return the cube that is to be sorted next."""
        return _current(state)

    def failure(self, state: SceneState) -> str:
        """Return also that a cube was released on a plate of another colour."""
        wrong = any(stands_on_plate(state, i, k) for i in range(CUBES) for k in range(CUBES) if k != i)
        return "wrong plate" if wrong else super().failure(state)

    def plan(self, planner: MotionPlanner) -> None:
        """Plan one sub-task: that of the held cube, else the first that is left and whose plate is free."""
        done = _sorted(planner.state)
        left = [i for i in range(CUBES) if not done[i]]
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
        plate_w = planner.state.target_pos_w(held) + [*planner.style.place_offset_m, PLATE_TOP_M]
        planner.place(held, plate_w, carry_m=planner.style.carry_m + CLEARANCE_M)


def _sorted(state: SceneState) -> list[bool]:
    return [stands_on_plate(state, i, i) for i in range(CUBES)]


def _current(state: SceneState) -> int:
    done = _sorted(state)
    return CUBES - 1 if all(done) else done.index(False)


def _occupied(planner: MotionPlanner, plate: int) -> bool:
    """Return whether a cube that does not belong there is over the plate."""
    plate_w = planner.state.target_pos_w(plate)
    others = [planner.object_pos_w(k)[:2] for k in range(CUBES) if k != plate]
    return bool(min(np.linalg.norm(other_w - plate_w[:2]) for other_w in others) < OVER_M)
