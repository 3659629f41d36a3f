"""Reach around: "go around the red pillar to the blue pad". Two ways, equally good.

A tall pillar stands free between the tool, which begins low in front of it, and the pad behind it. Everything
lies on one line, seen from the arm and from the fixed camera; nothing that is seen distinguishes left from right. An
expert goes left in half of the episodes. A policy that averages the two ways hits the pillar.
"""

import mujoco
import numpy as np

from sim.planning.motion_planner import MotionPlanner
from sim.randomize.ranges import RandomizeConfig
from sim.scene import fixtures
from sim.scene.layout import Layout
from sim.scene.placement import draw_colours, draw_yaws
from sim.scene.state import UPRIGHT, SceneState
from sim.tasks.base import Task, register_task
from sim.tasks.seen import ToolOver

START_X_M, PILLAR_X_M, PAD_X_M = -0.250, -0.330, -0.440  # on the line; the gripper needs more room behind the pillar
AXIS_Y_M, JITTER_M = 0.02, 0.004  # of the whole line; of the start alone
START_Z_M = (0.040, 0.060)
START_YAW_RAD = -np.pi / 2  # fingers open across the line, the camera behind
AROUND_M = 0.097  # the tool from the line as it passes: the gripper is 66 mm wide to each side
NEAR_M = 0.025  # tool point from the pad's middle, seen from above
LOW_M = 0.06  # tool point above the table
KEEP_OUT_M = 0.21  # distractors stay so far from the pillar
MOVED_M = 0.01


@register_task("reach_around")
class ReachAround(Task):
    """The tool goes over the pad without moving the pillar."""

    time_limit_s = 7.0
    success_text = (
        "the tool point within 25 mm of the middle of the pad, seen from above, lower than 60 mm, the "
        "pillar where it was"
    )
    max_objects = 1
    max_targets = 1
    target_kind = "pad"
    seems_done = ToolOver(NEAR_M, LOW_M)
    object_shapes = ("pillar",)
    sentences = (
        "go around the {object} to the {target}",
        "reach the {target} past the {object}",
        "go to the {target} and leave the {object} standing",
        "get past the {object_too} to the {target_too}",
        "go to the {target} behind the {object_too}",
        "the hand belongs over the {target}, do not touch the {object}",
        "bring the hand to the {target} without touching the {object}",
        "I want the hand over the {target} and the {object} standing",
    )
    grammar = (
        "{please}go around the {object} to the {target}",
        "{please}go {over} the {target}, past the {object}",
        "{please}{bring} the hand around the {object} to the {target}",
        "past the {object} to the {target}",
        "{please}pass the {object} and stay {over} the {target}",
        "{please}go to the {target} without touching the {object}",
    )
    handled_objects = ()
    brings_object = False
    free_waypoints = ("around", "arrive")  # where an expert may be bumped or pause: the pillar is far enough aside

    def add_targets(self, spec: mujoco.MjSpec) -> None:
        """Add the pad, painted on the table."""
        fixtures.add_zone(spec, 0)

    def draw_layout(self, rng: np.random.Generator, ranges: RandomizeConfig) -> Layout:
        """Draw the line, where on it things stand, and where the tool begins."""
        y = rng.uniform(-AXIS_Y_M, AXIS_Y_M)
        pillar_x, pad_x = PILLAR_X_M + rng.uniform(-JITTER_M, JITTER_M), PAD_X_M + rng.uniform(-JITTER_M, JITTER_M)
        start_w: np.ndarray = [START_X_M, y, rng.uniform(*START_Z_M)] + np.array(
            [*rng.uniform(-JITTER_M, JITTER_M, 2), 0.0]
        )
        colours = draw_colours(rng, 2)
        things = {"object": (colours[0], "pillar"), "target": (colours[1], "pad")}
        wording, sentence = self.sample_instruction(rng, ranges.paraphrase, **things)
        return Layout(
            instruction=sentence, wording=wording,
            object_shapes=("pillar",), object_colours=colours[:1], object_xy_m=((pillar_x, y),),
            object_yaw_rad=draw_yaws(rng, 1),
            target_colours=colours[1:], target_xy_m=((pad_x, y),), keep_out_m=((pillar_x, y, KEEP_OUT_M),),
            tool_start_w=tuple(start_w.tolist()), tool_start_yaw_rad=START_YAW_RAD + rng.uniform(-0.08, 0.08),
        )  # fmt: skip

    def object_pos_w(self, state: SceneState) -> np.ndarray:
        """Return the middle of the pillar."""
        return state.object_pos_w(0)

    def target_pos_w(self, state: SceneState) -> np.ndarray:
        """Return the middle of the pad."""
        return state.target_pos_w(0)

    def is_done(self, state: SceneState) -> bool:
        """Return whether the tool point is low over the middle of the pad, and the pillar where it stood."""
        tool_pos_w, pad_w = state.tool_pos_w, self.target_pos_w(state)
        there = np.hypot(*(tool_pos_w - pad_w)[:2]) <= NEAR_M and tool_pos_w[2] < LOW_M
        return bool(there and pillar_stands(state))

    def plan(self, planner: MotionPlanner) -> None:
        """Go around the pillar on the side where the tool is; while it is before the pillar, on the style's side."""
        if self.is_done(planner.state):
            return
        style, (pillar_x, y) = planner.style, planner.state.layout.object_xy_m[0]
        tool, pad_w = planner.tool_pos_w, self.target_pos_w(planner.state)
        height_m, aside_m = min(tool[2], START_Z_M[1] - 0.005), tool[1] - y
        side = np.sign(aside_m) if abs(aside_m) > 0.03 else 1.0 if style.other_way else -1.0
        around_m = side * (AROUND_M + 0.5 * style.place_offset_m[0] + 0.005)
        corners = ((START_X_M, 0.7), (pillar_x + 0.055, 1.0), (pillar_x, 1.0), (pillar_x - 0.06, 1.0))
        for x, share in corners:
            if x < tool[0] + 0.01:  # not passed yet
                planner.go("around", [x, y + share * around_m, height_m], None, blend_rad=0.05)
        end_w = pad_w[:2] + style.place_offset_m * [0.4, 0.8]
        planner.go("arrive", [*end_w, height_m], None)


def pillar_stands(state: SceneState) -> bool:
    """Return whether the pillar is upright and where it was."""
    moved_m = np.linalg.norm(state.object_pos_w(0)[:2] - state.layout.object_xy_m[0])
    return bool(moved_m <= MOVED_M and state.object_rotation_w(0)[2, 2] >= UPRIGHT)
