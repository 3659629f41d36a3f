"""Reach: "go to the green plate". The simplest task: the tool over the named plate, close above it.

For training from rewards: nothing is grasped, and the plate's position is all there is to know.
"""

import mujoco
import numpy as np

from sim.planning.motion_planner import MotionPlanner
from sim.randomize.ranges import RandomizeConfig
from sim.scene import fixtures
from sim.scene.fixtures import PLATE_TOP_M
from sim.scene.layout import Layout, as_points
from sim.scene.placement import draw_colours, draw_places
from sim.scene.state import SceneState
from sim.tasks.base import Task, register_task
from sim.tasks.seen import ToolOver

NEAR_M = 0.025  # tool point from the plate's middle, seen from above
LOW_M = 0.06  # tool point above the table
PLATES_APART_M = 0.115
HOVER_M = 0.035  # of the expert's tool above the table


@register_task("reach")
class Reach(Task):
    """The tool goes over the named plate."""

    time_limit_s = 4.0
    success_text = "the tool point within 25 mm of the middle of the named plate, seen from above, and lower than 60 mm"
    max_objects = 0
    max_targets = 3
    seems_done = ToolOver(NEAR_M, LOW_M - PLATE_TOP_M)
    sentences = (
        "go to the {target}",
        "reach for the {target}",
        "hold the hand over the {target}",
        "bring the hand to the {target}",
        "point at the {target_too}",
        "the hand belongs over the {target_too}",
        "I want the hand over the {target}",
        "show me the {target_too}",
    )
    grammar = (
        "{please}go {over} the {target}",
        "{please}hold the hand {over} the {target}",
        "{please}{bring} the hand {over} the {target}",
        "{over} the {target} is where the hand belongs",
        "{please}point at the {target}",
        "find the {target} and stay {over} it",
    )

    def add_targets(self, spec: mujoco.MjSpec) -> None:
        """Add three plates."""
        for i in range(self.max_targets):
            fixtures.add_plate(spec, i)

    def draw_layout(self, rng: np.random.Generator, ranges: RandomizeConfig) -> Layout:
        """Draw where the plates lie and which is asked for. Index 0 is the named one."""
        plates = int(rng.integers(1, self.max_targets + 1))
        places = draw_places(rng, np.full((plates, plates), PLATES_APART_M))
        colours = draw_colours(rng, plates)
        wording, sentence = self.sample_instruction(rng, ranges.paraphrase, target=(colours[0], "plate"))
        return Layout(instruction=sentence, wording=wording, target_colours=colours, target_xy_m=as_points(places))

    def object_pos_w(self, state: SceneState) -> np.ndarray:
        """Return the tool point: what is to be brought to the target."""
        return state.tool_pos_w.copy()

    def target_pos_w(self, state: SceneState) -> np.ndarray:
        """Return the centre of the top of the named plate."""
        return state.target_pos_w(0) + [0, 0, PLATE_TOP_M]

    def is_done(self, state: SceneState) -> bool:
        """Return whether the tool point is over the middle of the named plate, and low."""
        tool_pos_w, plate_w = state.tool_pos_w, self.target_pos_w(state)
        return bool(np.hypot(*(tool_pos_w - plate_w)[:2]) <= NEAR_M and tool_pos_w[2] < LOW_M)

    def failure(self, state: SceneState) -> str:
        """Return also that the tool is low over another plate."""
        tool_pos_w = state.tool_pos_w
        others = [state.target_pos_w(i) for i in range(1, len(state.layout.target_colours))]
        low = tool_pos_w[2] < LOW_M
        if low and any(np.hypot(*(tool_pos_w - other_w)[:2]) <= NEAR_M for other_w in others):
            return "wrong target"
        return super().failure(state)

    def plan(self, planner: MotionPlanner) -> None:
        """Plan the waypoints that lead from here to success; none when it is reached."""
        if self.is_done(planner.state):
            return
        style = planner.style
        over_w = self.target_pos_w(planner.state)[:2] + style.place_offset_m
        planner.go("approach", [*over_w, style.hover_m + 0.02], None, blend_rad=style.blend_rad)
        planner.go("descend", [*over_w, HOVER_M + style.grasp_height_m], None)
