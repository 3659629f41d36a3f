"""A task of somebody else's: hold the gripper well above the named plate."""

import mujoco
import numpy as np

from sim.planning.motion_planner import MotionPlanner
from sim.randomize.ranges import RandomizeConfig
from sim.scene import fixtures
from sim.scene.layout import Layout, as_points
from sim.scene.placement import draw_colours, draw_places
from sim.scene.state import SceneState
from sim.tasks.base import Task, register_task

NEAR_M = 0.03
HEIGHT_M = (0.08, 0.16)


@register_task("hover")
class Hover(Task):
    """The tool point stays over the named plate, between 8 and 16 cm above the table."""

    time_limit_s = 4.0
    success_text = "the tool point within 30 mm of the plate's middle, seen from above, 80 to 160 mm above the table"
    max_targets = 2
    sentences = ("hover over the {target}", "wait above the {target_too}")
    grammar = ("{please}hover {over} the {target}",)

    def add_targets(self, spec: mujoco.MjSpec) -> None:
        for i in range(self.max_targets):
            fixtures.add_plate(spec, i)

    def draw_layout(self, rng: np.random.Generator, ranges: RandomizeConfig) -> Layout:
        places, colours = draw_places(rng, np.full((2, 2), 0.115)), draw_colours(rng, 2)
        wording, sentence = self.sample_instruction(rng, ranges.paraphrase, target=(colours[0], "plate"))
        return Layout(instruction=sentence, wording=wording, target_colours=colours, target_xy_m=as_points(places))

    def object_pos_w(self, state: SceneState) -> np.ndarray:
        return state.tool_pos_w.copy()

    def target_pos_w(self, state: SceneState) -> np.ndarray:
        return state.target_pos_w(0)

    def is_done(self, state: SceneState) -> bool:
        away = np.hypot(*(state.tool_pos_w - self.target_pos_w(state))[:2])
        return bool(away <= NEAR_M and HEIGHT_M[0] <= state.tool_pos_w[2] <= HEIGHT_M[1])

    def plan(self, planner: MotionPlanner) -> None:
        planner.go("approach", [*self.target_pos_w(planner.state)[:2], sum(HEIGHT_M) / 2], None)
