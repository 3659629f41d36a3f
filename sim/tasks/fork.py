"""Fork: "go around the red pillar to the blue pad". Two ways, equally good.

A tall pillar stands free between the hand, which begins low in front of it, and the pad behind it. Everything
lies on one line, seen from the arm and from the front camera; nothing that is seen tells left from right. An
expert goes left in half of the episodes. Who keeps both ways apart gets there; who averages them hits the pillar.
"""

from collections.abc import Mapping

import mujoco
import numpy as np

from sim.planning.motion_planner import MotionPlanner
from sim.randomize.ranges import RandomizeConfig
from sim.scene import fixtures
from sim.scene.build import Scene
from sim.scene.layout import draw_colours
from sim.scene.layout import stand as apply_layout
from sim.tasks.instructions import say

NAME = "fork"
TIME_LIMIT_S = 7.0
SETTLED_PERIODS = 4  # success must hold for 0.2 s
OBJECTS = TARGETS = 1
SHAPES = ("pillar",)
SENTENCES = (
    "go around the {object} to the {target}",
    "reach the {target} past the {object}",
    "go to the {target} and leave the {object} standing",
    "get past the {object_too} to the {target_too}",
    "go to the {target} behind the {object_too}",
    "the hand belongs over the {target}, do not touch the {object}",
    "bring the hand to the {target} without touching the {object}",
    "I want the hand over the {target} and the {object} standing",
)
GRAMMAR = (
    "{please}go around the {object} to the {target}",
    "{please}go {over} the {target}, past the {object}",
    "{please}{bring} the hand around the {object} to the {target}",
    "past the {object} to the {target}",
    "{please}pass the {object} and stay {over} the {target}",
    "{please}go to the {target} without touching the {object}",
)
HOME_TOOL_M = np.array([-0.3029, 0.0017, 0.2179])  # to which a world adds `start_xyz_m`: forward kinematics of home_rad
START_X_M, PILLAR_X_M, PAD_X_M = -0.250, -0.330, -0.440  # on the line; the gripper needs more room behind the pillar
AXIS_Y_M, JITTER_M = 0.02, 0.004  # of the whole line; of the start alone
START_Z_M = (0.040, 0.060)
START_YAW_RAD = -np.pi / 2  # fingers open across the line, the camera behind
AROUND_M = 0.097  # the tool from the line as it passes: the gripper is 66 mm wide to each side
NEAR_M = 0.025  # tool point from the pad's middle, seen from above
LOW_M = 0.06  # tool point above the table
KEEP_OUT_M = 0.21  # clutter stays so far from the pillar
MOVED_M, UPRIGHT = 0.01, 0.98
FREE_LEGS = ("around", "arrive")  # where an expert may be bumped or pause: the pillar is far enough aside


def add_targets(spec: mujoco.MjSpec) -> None:
    """The pad, painted on the table."""
    fixtures.add_zone(spec, 0)


def draw_layout(rng: np.random.Generator, ranges: RandomizeConfig) -> dict:
    """Where the line lies, where on it things stand, and where the hand begins."""
    y = rng.uniform(-AXIS_Y_M, AXIS_Y_M)
    pillar_x, pad_x = PILLAR_X_M + rng.uniform(-JITTER_M, JITTER_M), PAD_X_M + rng.uniform(-JITTER_M, JITTER_M)
    start_w = [START_X_M, y, rng.uniform(*START_Z_M)] + np.array([*rng.uniform(-JITTER_M, JITTER_M, 2), 0.0])
    colours = draw_colours(rng, 2)
    things = {"object": (colours[0], "pillar"), "target": (colours[1], "pad")}
    wording, sentence = say(rng, ranges.paraphrase, SENTENCES, GRAMMAR, **things)
    return {
        "object_shapes": "pillar",
        "object_colours": colours[0],
        "target_colours": colours[1],
        "target_xy_m": [pad_x, y],
        "object_xy_m": [pillar_x, y],
        "object_yaw_rad": [rng.uniform(-np.pi, np.pi)],
        "keep_out_m": [pillar_x, y, KEEP_OUT_M],
        "start_xyz_m": (start_w - HOME_TOOL_M).tolist(),
        "start_yaw_rad": START_YAW_RAD + rng.uniform(-0.08, 0.08),
        "wording": wording,
        "instruction": sentence,
    }


def object_pos_w(scene: Scene, data: mujoco.MjData, layout: Mapping) -> np.ndarray:
    """(3,) middle of the pillar in the world frame, m."""
    return data.xpos[scene.objects[0]].copy()


def target_pos_w(scene: Scene, data: mujoco.MjData, layout: Mapping) -> np.ndarray:
    """(3,) middle of the pad in the world frame, m."""
    return data.xpos[scene.targets[0]].copy()


def stands(scene: Scene, data: mujoco.MjData, layout: Mapping) -> bool:
    """The pillar is upright and where it was."""
    moved_m = np.linalg.norm(object_pos_w(scene, data, layout)[:2] - layout["object_xy_m"])
    return bool(moved_m <= MOVED_M and data.xmat[scene.objects[0], 8] >= UPRIGHT)


def is_done(scene: Scene, data: mujoco.MjData, layout: Mapping) -> bool:
    """The tool point is over the middle of the pad, and low; the pillar stands where it stood."""
    tool_w, pad_w = data.site_xpos[scene.tcp_site], target_pos_w(scene, data, layout)
    there = np.hypot(*(tool_w - pad_w)[:2]) <= NEAR_M and tool_w[2] < LOW_M
    return bool(there and stands(scene, data, layout))


def plan(planner: MotionPlanner, layout: Mapping) -> None:
    """Legs around the pillar, on the side where the hand is, or while it is before the pillar on the style's side."""
    if is_done(planner.scene, planner.data, layout):
        return
    style, (pillar_x, y) = planner.style, layout["object_xy_m"]
    tool, pad_w = planner.tool_w, target_pos_w(planner.scene, planner.data, layout)
    height_m, aside_m = min(tool[2], START_Z_M[1] - 0.005), tool[1] - y
    side = np.sign(aside_m) if abs(aside_m) > 0.03 else 1.0 if style.other_way else -1.0
    around_m = side * (AROUND_M + 0.5 * style.place_offset_m[0] + 0.005)
    corners = ((START_X_M, 0.7), (pillar_x + 0.055, 1.0), (pillar_x, 1.0), (pillar_x - 0.06, 1.0))
    for x, share in corners:
        if x < tool[0] + 0.01:  # not passed yet
            planner.go("around", [x, y + share * around_m, height_m], None, blend_rad=0.05)
    end_w = pad_w[:2] + style.place_offset_m * [0.4, 0.8]
    planner.go("arrive", [*end_w, height_m], None)


__all__ = ["NAME", "OBJECTS", "SETTLED_PERIODS", "TARGETS", "TIME_LIMIT_S", "add_targets", "apply_layout",
           "draw_layout", "is_done", "object_pos_w", "plan", "target_pos_w"]  # fmt: skip
