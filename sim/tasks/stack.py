"""Stack: "stack the red cube on the blue cube", with a third cube on the table in some episodes."""

import mujoco
import numpy as np

from sim.planning.motion_planner import MotionPlanner
from sim.randomize.ranges import RandomizeConfig
from sim.scene.layout import Layout, as_points
from sim.scene.placement import draw_colours, draw_places, draw_yaws
from sim.scene.state import SceneState
from sim.tasks.base import Task, register_task
from sim.tasks.seen import PutDown

NAMED, BASE = 0, 1  # objects
GAP_M = 0.095  # between cubes
OVER_M = 0.030  # sideways: nearer, a cube that is higher lies on the other
OFFSET_SHARE = 0.6  # of where the style would let go beside the middle of a plate: a cube is smaller
CLEARANCE_M = 0.035  # of carrying over a plate's height


@register_task("stack")
class Stack(Task):
    """The named cube goes onto another named cube."""

    time_limit_s = 17.0
    success_text = "the named cube on the other named cube, that one on the table, both released and at rest"
    object_shapes = ("cube",)
    max_objects = 3
    max_targets = 0
    target_kind = "cube"  # one of the objects
    seems_done = PutDown(0.02)
    sentences = (
        "stack the {object} on the {target}",
        "put the {object} on top of the {target}",
        "pick up the {object} and stack it on the {target}",
        "place the {object_too} on the {target_too}",
        "set the {object} down on top of the {target_too}",
        "the {object_too} goes on top of the {target}",
        "move the {object} onto the {target}",
        "I want the {object_too} on the {target_too}",
    )
    grammar = (
        "{please}{stack} the {object} {on} the {target}",
        "{please}{take} the {object} and {stack} it {on} the {target}",
        "build a tower, the {object} {on} the {target}",
        "the {object} belongs on the {target}",
        "{on} the {target} {put} the {object}",
        "find the {object} and {bring} it on top of the {target}",
    )

    def add_targets(self, spec: mujoco.MjSpec) -> None:
        """Add none: a cube is put on a cube."""

    def draw_layout(self, rng: np.random.Generator, ranges: RandomizeConfig) -> Layout:
        """Draw two or three cubes and what is asked for. Object 0 is to stand on object 1."""
        cubes = int(rng.integers(2, self.max_objects + 1))
        placed, colours = draw_places(rng, np.full((cubes, cubes), GAP_M)), draw_colours(rng, cubes)
        things = {"object": (colours[NAMED], "cube"), "target": (colours[BASE], "cube")}
        wording, sentence = self.sample_instruction(rng, ranges.paraphrase, **things)
        return Layout(
            instruction=sentence, wording=wording,
            object_shapes=("cube",) * cubes, object_colours=colours, object_xy_m=as_points(placed),
            object_yaw_rad=draw_yaws(rng, cubes),
        )  # fmt: skip

    def object_pos_w(self, state: SceneState) -> np.ndarray:
        """Return the centre of the named cube."""
        return state.object_pos_w(NAMED)

    def target_pos_w(self, state: SceneState) -> np.ndarray:
        """Return the centre of the top of the cube to stack on."""
        return state.object_pos_w(BASE) + [0, 0, state.half_height_m(BASE)]

    def is_done(self, state: SceneState) -> bool:
        """Return whether the named cube stands on the other one, that one on the table, both released and at rest."""
        half_m, base_m = state.half_height_m(NAMED), state.half_height_m(BASE)
        offset = self.object_pos_w(state) - self.target_pos_w(state)
        stacked = np.hypot(offset[0], offset[1]) <= base_m and abs(offset[2] - half_m) <= 0.006
        on_table = abs(state.object_pos_w(BASE)[2] - base_m) <= 0.006
        free = all(state.speed_m_s(i) < 0.05 and not state.is_held(i) for i in (NAMED, BASE))
        return bool(stacked and on_table and free)

    def plan(self, planner: MotionPlanner) -> None:
        """Plan the waypoints that lead from here to success, whatever has happened before."""
        if self.is_done(planner.state):
            planner.retreat()
            return
        holds = planner.holds(NAMED)
        on_top = _on_top(planner, len(planner.state.layout.object_shapes))
        if on_top is not None and not holds:
            planner.put_aside(on_top)
            return
        if not holds:
            planner.pick(NAMED)
        offset_m = OFFSET_SHARE * planner.style.place_offset_m
        top_w = self.target_pos_w(planner.state) + [*offset_m, 0.0]
        planner.place(NAMED, top_w, yaw_rad=planner.grasp_yaw(BASE), carry_m=planner.style.carry_m + CLEARANCE_M)


def _on_top(planner: MotionPlanner, cubes: int) -> int | None:
    """Return a cube that lies on the one to take or, not being that one, on the one to stack on; None for none."""
    for k in range(1, cubes):
        for below in {NAMED, BASE} - {k}:
            above = planner.object_pos_w(k) - planner.object_pos_w(below)
            if np.hypot(above[0], above[1]) < OVER_M and above[2] > 0.02:
                return k
    return None
