"""Place in a drawer: "put the red cube in the blue drawer", which may have to be opened first."""

from collections.abc import Mapping

import mujoco
import numpy as np

from sim.core.errors import UserError
from sim.planning import drawer
from sim.planning.motion_planner import MotionPlanner
from sim.randomize.ranges import RandomizeConfig
from sim.scene import cabinet
from sim.scene.build import Scene
from sim.scene.cabinet import stand as apply_layout
from sim.scene.layout import draw_colours, draw_places, draw_shapes, half_height_m, is_held, speed_m_s, within_reach
from sim.scene.parts import MAX_SCALE
from sim.scene.shapes import SHAPES as KNOWN_SHAPES
from sim.tasks.instructions import say
from sim.tasks.open_drawer import add_targets

NAME = "place_in_drawer"
TIME_LIMIT_S = 25.0
SETTLED_PERIODS = 4  # success must hold for 0.2 s
OBJECTS, TARGETS = 2, 2
SENTENCES = (
    "put the {object} in the {target}",
    "place the {object} into the {target}",
    "pick up the {object} and put it in the {target}",
    "store the {object_too} in the {target}",
    "drop the {object} into the {target_too}",
    "the {object_too} goes in the {target}",
    "move the {object} into the {target}",
    "I want the {object} in the {target_too}",
)
GRAMMAR = (
    "{please}{put} the {object} {inside} the {target}",
    "{please}{take} the {object} and {put} it {inside} the {target}",
    "{please}{bring} the {object} to the {target} and {put} it in",
    "the {object} belongs {inside} the {target}",
    "{inside} the {target} {put} the {object}",
    "find the {object} and {put} it {inside} the {target}",
)
WIDEST_M = 0.032  # radius of what goes into a drawer, the fingers around it
OPEN_ENOUGH_M = 0.075
OPEN_SHARE = 0.5  # of the episodes begin with the named drawer open
GAP_M, BESIDE_M = 0.092, 0.075  # between objects, from a cabinet with its drawer out
LET_GO_OVER_FLOOR_M = 0.010  # at least; the fingers then end above the drawer's sides


def draw_layout(rng: np.random.Generator, ranges: RandomizeConfig) -> dict:
    """One or two drawers, each open or closed, and one or two objects beside. Index 0 is what is named."""
    objects, drawers = int(rng.integers(1, OBJECTS + 1)), int(rng.integers(1, TARGETS + 1))
    cabinets, placed = _draw_places(rng, drawers, objects)
    colours, drawer_colours = draw_colours(rng, objects), draw_colours(rng, drawers)
    shapes = draw_shapes(rng, _fitting(ranges.shapes), objects)
    things = {"object": (colours[0], shapes[0]), "target": (drawer_colours[0], "drawer")}
    wording, sentence = say(rng, ranges.paraphrase, SENTENCES, GRAMMAR, **things)
    opened = np.where(rng.random(drawers) < OPEN_SHARE, rng.uniform(0.08, cabinet.PULL_M, drawers), 0.0)
    return {
        "objects": objects,
        "targets": drawers,
        "object_shapes": ",".join(shapes),
        "object_colours": ",".join(colours),
        "object_xy_m": placed.ravel().tolist(),
        "object_yaw_rad": rng.uniform(-np.pi, np.pi, objects).tolist(),
        "target_colours": ",".join(drawer_colours),
        **cabinets,
        "drawer_open_m": opened.tolist(),
        "keep_out_m": cabinet.keep_out_m(cabinets),
        "wording": wording,
        "instruction": sentence,
    }


def _draw_places(rng: np.random.Generator, drawers: int, objects: int) -> tuple[dict, np.ndarray]:
    """Cabinets that leave room, and (objects, 2) m places within reach beside them."""
    cabinets = cabinet.draw_cabinets(rng, drawers)

    def allowed(xy: np.ndarray) -> bool:
        return within_reach(xy) and cabinet.is_beside(xy, cabinets, BESIDE_M)

    return cabinets, draw_places(rng, np.full((objects, objects), GAP_M), allowed)


def _fitting(shapes: tuple[str, ...]) -> list[str]:
    """Those that go into a drawer. UserError if none does."""
    narrow = [name for name, shape in KNOWN_SHAPES.items() if shape.radius_m * MAX_SCALE <= WIDEST_M]
    fitting = [name for name in shapes if name in narrow]
    if not fitting:
        raise UserError(f"randomize.shapes={list(shapes)}: expected one that fits a drawer: {', '.join(narrow)}")
    return fitting


def object_pos_w(scene: Scene, data: mujoco.MjData, layout: Mapping) -> np.ndarray:
    """(3,) centre of the named object in the world frame, m."""
    return data.xpos[scene.objects[0]].copy()


def target_pos_w(scene: Scene, data: mujoco.MjData, layout: Mapping) -> np.ndarray:
    """(3,) middle of the named drawer's floor, of as much of it as is out when an expert has opened it, m."""
    opening_m = max(cabinet.opening_m(scene, data, 0), OPEN_ENOUGH_M)
    return cabinet.point_w(scene, data, 0, [cabinet.PANEL_BACK_M + opening_m / 2, 0.0, cabinet.FLOOR_M])


def is_done(scene: Scene, data: mujoco.MjData, layout: Mapping) -> bool:
    """The named object lies in the named drawer, let go and still, and nothing of the arm touches the drawer."""
    x, y, z = cabinet.in_drawer(scene, data, 0, object_pos_w(scene, data, layout))
    within = -cabinet.INSIDE_LENGTH_M < x < 0.0 and abs(y) < cabinet.INSIDE_HALF_WIDTH_M
    lies = within and 0.0 < z <= half_height_m(layout, 0) + 0.008
    still = speed_m_s(scene, data, 0) < 0.05 and cabinet.speed_m_s(scene, data, 0) < 0.02
    let_go = not is_held(scene, data, 0) and not cabinet.is_touched(scene, data, 0)
    return bool(lies and still and let_go)


def plan(planner: MotionPlanner, layout: Mapping) -> None:
    """The legs that lead to the next sub-goal: the drawer open, then the object in it."""
    scene, data = planner.scene, planner.data
    is_open = cabinet.opening_m(scene, data, 0) >= OPEN_ENOUGH_M
    if is_done(scene, data, layout):
        planner.retreat()
    elif planner.holds(0) and not is_open:
        planner.place(0, np.array([*layout["object_xy_m"][:2], 0.0]))
    elif not is_open:
        drawer.pull_open(planner, 0)
    else:
        _put_in(planner, layout)


def _put_in(planner: MotionPlanner, layout: Mapping) -> None:
    """Grasp the object unless it is in the hand, and let it go inside, the fingers opening along the panel."""
    if not planner.holds(0):
        drawer.rise(planner)
        planner.pick(0)
    yaw = layout["target_yaw_rad"][0] + np.pi / 2
    yaw += np.pi * round((planner.yaw_rad - yaw) / np.pi)  # half a turn is the same to a parallel jaw
    over_w = target_pos_w(planner.scene, planner.data, layout) + [*planner.style.place_offset_m, LET_GO_OVER_FLOOR_M]
    carry_m = cabinet.HEIGHT_M + 2 * half_height_m(layout, 0) + planner.style.carry_m - 0.05
    planner.place(0, over_w, yaw_rad=yaw, carry_m=carry_m)


__all__ = ["NAME", "OBJECTS", "SETTLED_PERIODS", "TARGETS", "TIME_LIMIT_S", "add_targets", "apply_layout",
           "draw_layout", "is_done", "object_pos_w", "plan", "target_pos_w"]  # fmt: skip
