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
from sim.tasks.base import register_task
from sim.tasks.pick_place import gaps_m, stands_on_plate
from sim.tasks.placings import CLEARANCE_M, OVER_M, Placings
from sim.tasks.steps import sort_step

CUBES = 3


@register_task("sort")
class Sort(Placings):
    """Every cube goes onto the plate of its colour."""

    time_limit_s = 45.0
    success_text = "every cube on the plate of its colour, released and at rest"
    object_shapes = named_by_kind = ("cube",)
    placings = max_objects = max_targets = CUBES
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
        "each cube belongs on the plate that has its colour",
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
        return sum(self.stand(state))

    def is_done(self, state: SceneState) -> bool:
        """Return whether all cubes stand on the plates of their colour, released and at rest."""
        return all(self.stand(state))

    def failure(self, state: SceneState) -> str:
        """Return also that a cube was released on a plate of another colour."""
        wrong = any(stands_on_plate(state, i, k) for i in range(CUBES) for k in range(CUBES) if k != i)
        return "wrong plate" if wrong else super().failure(state)

    def plan(self, planner: MotionPlanner) -> None:
        """Plan one sub-task: that of the held cube, else the first that is left and whose plate is free."""
        done = self.stand(planner.state)
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


def _occupied(planner: MotionPlanner, plate: int) -> bool:
    """Return whether a cube that does not belong there is over the plate."""
    plate_w = planner.state.target_pos_w(plate)
    others = [planner.object_pos_w(k)[:2] for k in range(CUBES) if k != plate]
    return bool(min(np.linalg.norm(other_w - plate_w[:2]) for other_w in others) < OVER_M)
