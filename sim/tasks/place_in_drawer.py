"""Place in a drawer: "put the red cube in the blue drawer", which may have to be opened first."""

import mujoco
import numpy as np

from sim.core.errors import UserError
from sim.planning import drawer
from sim.planning.motion_planner import MotionPlanner
from sim.randomize.ranges import RandomizeConfig
from sim.scene import cabinet
from sim.scene.layout import Layout, as_points
from sim.scene.parts import MAX_SCALE
from sim.scene.placement import draw_colours, draw_places, draw_shapes, draw_yaws, within_reach
from sim.scene.shapes import SHAPES as KNOWN_SHAPES
from sim.scene.state import SceneState
from sim.tasks.base import Task, register_task
from sim.tasks.seen import PutDown
from sim.tasks.steps import open_step

WIDEST_M = 0.032  # radius of what goes into a drawer, the fingers around it
OPEN_ENOUGH_M = 0.075
OPEN_SHARE = 0.5  # of the episodes begin with the named drawer open
GAP_M, BESIDE_M = 0.092, 0.075  # between objects, from a cabinet with its drawer out
LET_GO_OVER_FLOOR_M = 0.010  # at least; the fingers then end above the drawer's sides


@register_task("place_in_drawer")
class PlaceInDrawer(Task):
    """The named object goes into the named drawer."""

    time_limit_s = 25.0
    success_text = "the named object in the named drawer, released, both at rest, the drawer untouched by the arm"
    max_objects = 2
    max_targets = 2
    handled_targets = (0,)
    target_kind = "drawer"
    target_turns = 2  # the fingers open along its panel, either way round
    seems_done = PutDown(0.05)
    sentences = (
        "put the {object} in the {target}",
        "place the {object} into the {target}",
        "pick up the {object} and put it in the {target}",
        "store the {object_too} in the {target}",
        "drop the {object} into the {target_too}",
        "the {object_too} goes in the {target}",
        "move the {object} into the {target}",
        "I want the {object} in the {target_too}",
    )
    layout_type = cabinet.DrawerLayout
    grammar = (
        "{please}{put} the {object} {inside} the {target}",
        "{please}{take} the {object} and {put} it {inside} the {target}",
        "{please}{bring} the {object} to the {target} and {put} it in",
        "the {object} belongs in the {target}",
        "{inside} the {target} {put} the {object}",
        "find the {object} and {put} it {inside} the {target}",
    )

    def add_targets(self, spec: mujoco.MjSpec) -> None:
        """Add two cabinets."""
        for i in range(self.max_targets):
            cabinet.add_cabinet(spec, i)

    def draw_layout(self, rng: np.random.Generator, ranges: RandomizeConfig) -> Layout:
        """Draw one or two drawers, each open or closed, and one or two objects beside. Index 0 is what is named."""
        objects, drawers = int(rng.integers(1, self.max_objects + 1)), int(rng.integers(1, self.max_targets + 1))
        cabinets, placed = _draw_places(rng, drawers, objects)
        colours, drawer_colours = draw_colours(rng, objects), draw_colours(rng, drawers)
        shapes = draw_shapes(rng, _fitting(ranges.shapes), objects)
        things = {"object": (colours[0], shapes[0]), "target": (drawer_colours[0], "drawer")}
        wording, sentence = self.sample_instruction(rng, ranges.paraphrase, **things)
        opened = np.where(rng.random(drawers) < OPEN_SHARE, rng.uniform(0.08, cabinet.PULL_M, drawers), 0.0)
        steps = () if opened[0] else (open_step(drawer_colours[0]),)
        return cabinet.DrawerLayout(
            instruction=sentence, wording=wording,
            object_shapes=shapes, object_colours=colours, object_xy_m=as_points(placed),
            object_yaw_rad=draw_yaws(rng, objects),
            target_colours=drawer_colours, drawer_open_m=tuple(opened.tolist()), **cabinets.layout_values(),
            subtasks=(*steps, sentence),
        )  # fmt: skip

    def apply_layout(self, state: SceneState) -> None:
        """Put everything where it stands, the drawers as far open as drawn."""
        cabinet.apply_drawer_layout(state)

    def object_pos_w(self, state: SceneState) -> np.ndarray:
        """Return the handle's middle while the drawer is to be opened, then the centre of the named object."""
        return _points_w(state, opens=_opens(state))["object"]

    def target_pos_w(self, state: SceneState) -> np.ndarray:
        """Return the middle of the cabinet's top while the drawer is to be opened, then of the part of the drawer's
        floor that is out."""
        return _points_w(state, opens=_opens(state))["target"]

    def step_points_w(self, state: SceneState, step: int) -> dict[str, np.ndarray]:
        """Return the points of opening the drawer, or of the last step, as if it were open far enough."""
        return _points_w(state, opens=step < len(state.layout.subtasks or ()) - 1)

    def subtasks_done(self, state: SceneState) -> int:
        """Return how many of the steps are done: the drawer is open, the object in it."""
        steps = len(state.layout.subtasks or ())
        return steps if self.is_done(state) else max(0, steps - 1 - (not _is_open(state)))

    def is_done(self, state: SceneState) -> bool:
        """Return whether the named object lies in the named drawer, both released and at rest."""
        x, y, z = cabinet.in_drawer(state, 0, state.object_pos_w(0))
        within = -cabinet.INSIDE_LENGTH_M < x < 0.0 and abs(y) < cabinet.INSIDE_HALF_WIDTH_M
        lies = within and 0.0 < z <= state.half_height_m(0) + 0.008
        still = state.speed_m_s(0) < 0.05 and cabinet.speed_m_s(state, 0) < 0.02
        let_go = not state.is_held(0) and not cabinet.is_touched(state, 0)
        return bool(lies and still and let_go)

    def plan(self, planner: MotionPlanner) -> None:
        """Plan the waypoints of the next step: the drawer open, then the object in it."""
        state = planner.state
        is_open = _is_open(state)
        if self.is_done(state):
            planner.retreat()
        elif planner.holds(0) and not is_open:
            planner.place(0, np.array([*state.layout.object_xy_m[0], 0.0]))
        elif not is_open:
            drawer.pull_open(planner, 0)
        else:
            _put_in(planner, self.target_pos_w(state))


def _is_open(state: SceneState) -> bool:
    return cabinet.opening_m(state, 0) >= OPEN_ENOUGH_M


def _opens(state: SceneState) -> bool:
    """Return whether the drawer is to be opened next: it is not, and the hand is free."""
    return not (_is_open(state) or state.is_in_hand(0))


def _points_w(state: SceneState, *, opens: bool) -> dict[str, np.ndarray]:
    opening_m = cabinet.opening_m(state, 0)
    if opens:
        return {"object": cabinet.bar_w(state, 0, opening_m), "target": cabinet.top_w(state, 0)}
    floor = [cabinet.PANEL_BACK_M + max(opening_m, OPEN_ENOUGH_M) / 2, 0.0, cabinet.FLOOR_M]
    return {"object": state.object_pos_w(0), "target": cabinet.point_w(state, 0, floor)}


def _draw_places(rng: np.random.Generator, drawers: int, objects: int) -> tuple[cabinet.Cabinets, np.ndarray]:
    """Draw cabinets that leave room, and (objects, 2) m places within reach beside them."""
    cabinets = cabinet.draw_cabinets(rng, drawers)

    def allowed(xy: np.ndarray) -> bool:
        return within_reach(xy) and cabinet.is_beside(xy, cabinets, BESIDE_M)

    return cabinets, draw_places(rng, np.full((objects, objects), GAP_M), allowed)


def _fitting(shapes: tuple[str, ...]) -> list[str]:
    """Return the shapes that fit into a drawer. UserError if none does."""
    narrow = [name for name, shape in KNOWN_SHAPES.items() if shape.radius_m * MAX_SCALE <= WIDEST_M]
    fitting = [name for name in shapes if name in narrow]
    if not fitting:
        raise UserError(f"randomize.shapes={list(shapes)}: expected one that fits a drawer: {', '.join(narrow)}")
    return fitting


def _put_in(planner: MotionPlanner, drawer_w: np.ndarray) -> None:
    """Grasp the object unless it is held, and release it inside, the fingers opening along the panel."""
    if not planner.holds(0):
        drawer.rise(planner)
        planner.pick(0)
    assert planner.state.layout.target_yaw_rad is not None
    yaw = planner.state.layout.target_yaw_rad[0] + np.pi / 2
    yaw += np.pi * round((planner.yaw_rad - yaw) / np.pi)  # half a turn is the same to a parallel jaw
    over_w = drawer_w + [*planner.style.place_offset_m, LET_GO_OVER_FLOOR_M]
    carry_m = cabinet.HEIGHT_M + 2 * planner.state.half_height_m(0) + planner.style.carry_m - 0.05
    planner.place(0, over_w, yaw_rad=yaw, carry_m=carry_m)
