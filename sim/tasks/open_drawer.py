"""Open a drawer: "open the red drawer", one of a small cabinet's, by its handle."""

from collections.abc import Mapping

import mujoco
import numpy as np

from sim.planning import drawer
from sim.planning.motion_planner import MotionPlanner
from sim.randomize.ranges import RandomizeConfig
from sim.scene import cabinet
from sim.scene.build import Scene
from sim.scene.cabinet import stand as apply_layout
from sim.scene.layout import draw_colours
from sim.tasks.instructions import say

NAME = "open_drawer"
TIME_LIMIT_S = 15.0
SETTLED_PERIODS = 4  # success must hold for 0.2 s
OBJECTS, TARGETS = 0, 2
SENTENCES = (
    "open the {target}",
    "pull the {target} open",
    "pull out the {target}",
    "slide the {target} open",
    "open the {target_too}",
    "the {target} should be open",
    "I want the {target} open",
    "move the {target_too} out",
)
GRAMMAR = (
    "{please}{open} the {target}",
    "{please}pull out the {target}",
    "{please}{take} the handle of the {target} and pull",
    "the {target} should stand open",
    "find the {target} and {open} it",
    "{please}{bring} the {target} out of the cabinet",
)
OPEN_M = 0.06


def add_targets(spec: mujoco.MjSpec) -> None:
    """Two cabinets."""
    for i in range(TARGETS):
        cabinet.add_cabinet(spec, i)


def draw_layout(rng: np.random.Generator, ranges: RandomizeConfig) -> dict:
    """One or two drawers, all closed. Index 0 is the named one."""
    drawers = int(rng.integers(1, TARGETS + 1))
    cabinets, colours = cabinet.draw_cabinets(rng, drawers), draw_colours(rng, drawers)
    wording, sentence = say(rng, ranges.paraphrase, SENTENCES, GRAMMAR, target=(colours[0], "drawer"))
    return {
        "targets": drawers,
        "object_shapes": "",
        "object_colours": "",
        "object_xy_m": [],
        "object_yaw_rad": [],
        "target_colours": ",".join(colours),
        **cabinets,
        "drawer_open_m": [0.0] * drawers,
        "keep_out_m": cabinet.keep_out_m(cabinets),
        "wording": wording,
        "instruction": sentence,
    }


def object_pos_w(scene: Scene, data: mujoco.MjData, layout: Mapping) -> np.ndarray:
    """(3,) middle of the named drawer's handle in the world frame, m."""
    return cabinet.bar_w(scene, data, 0, cabinet.opening_m(scene, data, 0))


def target_pos_w(scene: Scene, data: mujoco.MjData, layout: Mapping) -> np.ndarray:
    """(3,) where the handle is when the drawer is as far open as an expert opens it at most, m."""
    return cabinet.bar_w(scene, data, 0, cabinet.PULL_M)


def is_done(scene: Scene, data: mujoco.MjData, layout: Mapping) -> bool:
    """The named drawer is open by OPEN_M at least, at rest, and nothing of the arm touches it."""
    still = cabinet.speed_m_s(scene, data, 0) < 0.02
    return cabinet.opening_m(scene, data, 0) >= OPEN_M and still and not cabinet.is_touched(scene, data, 0)


def plan(planner: MotionPlanner, layout: Mapping) -> None:
    """The legs that lead from here to success, whatever has happened before."""
    if is_done(planner.scene, planner.data, layout):
        drawer.rise(planner)
    else:
        drawer.pull_open(planner, 0)


__all__ = ["NAME", "OBJECTS", "SETTLED_PERIODS", "TARGETS", "TIME_LIMIT_S", "add_targets", "apply_layout",
           "draw_layout", "is_done", "object_pos_w", "plan", "target_pos_w"]  # fmt: skip
