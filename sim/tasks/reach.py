"""Reach: "go to the green plate". The simplest task: the hand over the named plate, close above it.

For whoever trains from rewards: nothing is grasped, and where the plate is tells all there is to know.
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
from sim.tasks.instructions import say

NAME = "reach"
TIME_LIMIT_S = 4.0
SETTLED_PERIODS = 4  # success must hold for 0.2 s
OBJECTS, TARGETS = 0, 3
SENTENCES = (
    "go to the {target}",
    "reach for the {target}",
    "hold the hand over the {target}",
    "bring the hand to the {target}",
    "point at the {target_too}",
    "the hand belongs over the {target_too}",
    "I want the hand over the {target}",
    "show me the {target_too}",
)
GRAMMAR = (
    "{please}go {over} the {target}",
    "{please}hold the hand {over} the {target}",
    "{please}{bring} the hand {over} the {target}",
    "{over} the {target} is where the hand belongs",
    "{please}point at the {target}",
    "find the {target} and stay {over} it",
)
NEAR_M = 0.025  # tool point from the plate's middle, seen from above
LOW_M = 0.06  # tool point above the table
PLATES_APART_M = 0.115
HOVER_M = 0.035  # of the expert's tool above the table


def add_targets(spec: mujoco.MjSpec) -> None:
    """Three plates."""
    for i in range(TARGETS):
        fixtures.add_plate(spec, i)


def draw_layout(rng: np.random.Generator, ranges: RandomizeConfig) -> dict:
    """Where the plates lie and which is asked for. Index 0 is the named one."""
    plates = int(rng.integers(1, TARGETS + 1))
    places = draw_places(rng, np.full((plates, plates), PLATES_APART_M))
    colours = draw_colours(rng, plates)
    wording, sentence = say(rng, ranges.paraphrase, SENTENCES, GRAMMAR, target=(colours[0], "plate"))
    return {
        "targets": plates,
        "object_shapes": "",
        "object_colours": "",
        "target_colours": ",".join(colours),
        "target_xy_m": places.ravel().tolist(),
        "object_xy_m": [],
        "object_yaw_rad": [],
        "wording": wording,
        "instruction": sentence,
    }


def object_pos_w(scene: Scene, data: mujoco.MjData, layout: Mapping) -> np.ndarray:
    """(3,) the tool point in the world frame, m: what is to be brought there."""
    return data.site_xpos[scene.tcp_site].copy()


def target_pos_w(scene: Scene, data: mujoco.MjData, layout: Mapping) -> np.ndarray:
    """(3,) centre of the top of the named plate in the world frame, m."""
    return data.xpos[scene.targets[0]] + [0, 0, PLATE_TOP_M]


def is_done(scene: Scene, data: mujoco.MjData, layout: Mapping) -> bool:
    """The tool point is over the middle of the named plate, and low."""
    tool_w, plate_w = data.site_xpos[scene.tcp_site], target_pos_w(scene, data, layout)
    return bool(np.hypot(*(tool_w - plate_w)[:2]) <= NEAR_M and tool_w[2] < LOW_M)


def plan(planner: MotionPlanner, layout: Mapping) -> None:
    """The legs that lead from here to success; none when it is there."""
    if is_done(planner.scene, planner.data, layout):
        return
    style = planner.style
    over_w = target_pos_w(planner.scene, planner.data, layout)[:2] + style.place_offset_m
    planner.go("approach", [*over_w, style.hover_m + 0.02], None, blend_rad=style.blend_rad)
    planner.go("descend", [*over_w, HOVER_M + style.grasp_height_m], None)


__all__ = ["NAME", "OBJECTS", "SETTLED_PERIODS", "TARGETS", "TIME_LIMIT_S", "add_targets", "apply_layout",
           "draw_layout", "is_done", "object_pos_w", "plan", "target_pos_w"]  # fmt: skip
