"""Pick and place: "put the red cube on the blue plate".

What is placed, what is wanted, when it is over, how an expert does it. Stepping, seeing and varying live elsewhere.
"""

from math import hypot

import mujoco
import numpy as np

from sim.planning.motion_planner import MotionPlanner
from sim.randomize.ranges import RandomizeConfig
from sim.scene import fixtures
from sim.scene.fixtures import PLATE_RADIUS_M, PLATE_TOP_M
from sim.scene.layout import Layout, as_points
from sim.scene.placement import draw_colours, draw_places, draw_shapes, draw_yaws
from sim.scene.state import SceneState
from sim.tasks.base import Task, register_task
from sim.tasks.seen import PutDown

ON_PLATE_M = PLATE_RADIUS_M - 0.005
MIN_GAP_M = {("object", "object"): 0.092, ("object", "plate"): 0.095, ("plate", "plate"): 0.110}


@register_task("pick_place")
class PickPlace(Task):
    """The named object goes onto the named plate."""

    time_limit_s = 15.0
    success_text = "the named object on the named plate, released and at rest"
    max_objects = 3
    max_targets = 3
    seems_done = PutDown(0.04)
    sentences = (
        "put the {object} on the {target}",
        "place the {object} onto the {target}",
        "pick up the {object} and put it on the {target}",
        "move the {object} to the {target}",
        "set the {object_too} down on the {target}",
        "take the {object_too} and place it on the {target_too}",
        "the {object} goes on the {target}",
        "I want the {object_too} on the {target_too}",
    )
    grammar = (
        "{please}{put} the {object} {on} the {target}",
        "{please}{take} the {object} and {put} it {on} the {target}",
        "{please}{bring} the {object} to the {target}",
        "the {object} belongs on the {target}",
        "{on} the {target} {put} the {object}",
        "find the {object} and {bring} it to the {target}",
    )

    def add_targets(self, spec: mujoco.MjSpec) -> None:
        """Add three plates."""
        for i in range(self.max_targets):
            fixtures.add_plate(spec, i)

    def draw_layout(self, rng: np.random.Generator, ranges: RandomizeConfig) -> Layout:
        """Draw where things stand and what is asked for. Index 0 is the named object and the named plate."""
        objects, plates = int(rng.integers(1, self.max_objects + 1)), int(rng.integers(1, self.max_targets + 1))
        placed = draw_places(rng, gaps_m(["plate"] * plates + ["object"] * objects))
        colours, plate_colours = draw_colours(rng, objects), draw_colours(rng, plates)
        shapes = draw_shapes(rng, ranges.shapes, objects)
        things = {"object": (colours[0], shapes[0]), "target": (plate_colours[0], "plate")}
        wording, sentence = self.sample_instruction(rng, ranges.paraphrase, **things)
        return Layout(
            instruction=sentence, wording=wording,
            object_shapes=shapes, object_colours=colours, object_xy_m=as_points(placed[plates:]),
            object_yaw_rad=draw_yaws(rng, objects),
            target_colours=plate_colours, target_xy_m=as_points(placed[:plates]),
        )  # fmt: skip

    def object_pos_w(self, state: SceneState) -> np.ndarray:
        """Return the centre of the named object."""
        return state.object_pos_w(0)

    def target_pos_w(self, state: SceneState) -> np.ndarray:
        """Return the centre of the top of the named plate."""
        return state.target_pos_w(0) + [0, 0, PLATE_TOP_M]

    def is_done(self, state: SceneState) -> bool:
        """Return whether the named object stands on the named plate, released and at rest."""
        return stands_on_plate(state, 0, 0)

    def plan(self, planner: MotionPlanner) -> None:
        """Plan the waypoints that lead from here to success, whatever has happened before."""
        if self.is_done(planner.state):
            planner.retreat()
            return
        if not planner.holds(0):
            planner.pick(0)
        target_pos_w = self.target_pos_w(planner.state)
        planner.place(0, target_pos_w + [*planner.style.place_offset_m, 0.0])


def gaps_m(kinds: list[str]) -> np.ndarray:
    """Return (n, n) smallest distances between things of these kinds."""
    return np.array([[MIN_GAP_M[min(a, b), max(a, b)] for b in kinds] for a in kinds])


def stands_on_plate(state: SceneState, i: int, plate: int) -> bool:
    """Return whether object `i` stands on a plate, upright, released and at rest."""
    x, y, z = (state.object_pos_w(i) - state.target_pos_w(plate)).tolist()
    on_plate = hypot(x, y) <= ON_PLATE_M and abs(z - PLATE_TOP_M - state.half_height_m(i)) <= 0.008
    return on_plate and state.is_upright(i) and state.speed_m_s(i) < 0.05 and not state.is_held(i)
