"""Press a button: "press the green button". Spring-loaded buttons, pressed with the gripper closed.

A button is a cap on a slide joint in a housing that stands where the episode puts it. To press one after the other is
no success: once another was pressed, nothing helps.
"""

from dataclasses import dataclass, replace
from typing import cast

import mujoco
import numpy as np

from sim.planning.motion_planner import MotionPlanner
from sim.randomize.ranges import RandomizeConfig
from sim.scene.fixtures import BOX, CYLINDER, PARKED_M
from sim.scene.layout import Layout, as_points
from sim.scene.placement import draw_colours, draw_places, draw_yaws
from sim.scene.state import SceneState
from sim.tasks.base import Memory, Task, register_task
from sim.tasks.seen import ToolOver

TRAVEL_M = 0.008
PRESSED_M = 0.004  # of the travel
TOUCHED_M = 0.001  # another one so far down is about to be pressed
CAP_TOP_M = 0.040  # above the table, not pressed
HOUSING_HALF_M = (0.032, 0.032, 0.0125)
CAP_RADIUS_M = 0.019
CAP_KG, SPRING_N_M, PRELOAD_M, DAMPING_NS_M = 0.02, 400.0, 0.005, 4.0  # 2 N to start, 5.2 N at the end of its travel
APART_M = 0.115
FINGERTIPS_M = 0.010  # below the tool point
DEPTH_M = 0.007  # to which the expert presses
DARK, RIM = (0.20, 0.21, 0.23, 1.0), (0.55, 0.56, 0.58, 1.0)


@dataclass(frozen=True)
class PressMemory(Memory):
    """pressed_another: whether a button that was not named has been pressed."""

    pressed_another: bool = False


@register_task("press_button")
class PressButton(Task):
    """The named button is to be pressed."""

    time_limit_s = 6.0
    success_text = "the named button pressed by half of its travel, and no other before or beside it"
    max_objects = 0
    max_targets = 3
    handled_targets = (0,)
    brings_object = False
    target_kind = "button"
    seems_done = ToolOver(CAP_RADIUS_M, FINGERTIPS_M + TRAVEL_M - PRESSED_M)
    sentences = (
        "press the {target}",
        "press down the {target}",
        "push the {target}",
        "push the {target_too} down",
        "hit the {target}",
        "hold the {target_too} pressed",
        "I want the {target} pressed",
        "bring the {target_too} down",
    )
    grammar = (
        "{please}{press} the {target}",
        "{please}push down the {target}",
        "{please}find the {target} and {press} it",
        "{please}{bring} the hand to the {target} and {press} it",
        "the {target} is the one to {press}",
        "{please}hold down the {target}",
    )

    def add_targets(self, spec: mujoco.MjSpec) -> None:
        """Add three buttons."""
        for i in range(self.max_targets):
            _add_button(spec, i)

    def draw_layout(self, rng: np.random.Generator, ranges: RandomizeConfig) -> Layout:
        """Draw where the buttons stand and which is asked for. Index 0 is the named one."""
        buttons = int(rng.integers(1, self.max_targets + 1))
        places = draw_places(rng, np.full((buttons, buttons), APART_M))
        colours = draw_colours(rng, buttons)
        wording, sentence = self.sample_instruction(rng, ranges.paraphrase, target=(colours[0], "button"))
        return Layout(
            instruction=sentence, wording=wording, target_colours=colours, target_xy_m=as_points(places),
            target_yaw_rad=draw_yaws(rng, buttons, np.pi / 4),
        )  # fmt: skip

    def object_pos_w(self, state: SceneState) -> np.ndarray:
        """Return the middle of the top of the named button as it is now."""
        return state.data.xpos[state.scene.model.body("button_0").id].copy()

    def target_pos_w(self, state: SceneState) -> np.ndarray:
        """Return where that middle is at the end of the button's travel."""
        return state.target_pos_w(0) + [0, 0, CAP_TOP_M - TRAVEL_M]

    def first_memory(self, state: SceneState) -> PressMemory:
        """Return that no other button was pressed."""
        return PressMemory(super().first_memory(state).object_start_w)

    def remember(self, state: SceneState) -> PressMemory:
        """Return the memory with whether another button has been pressed."""
        memory = cast(PressMemory, state.memory)
        return replace(memory, pressed_another=memory.pressed_another or _deepest_other_m(state) >= PRESSED_M)

    def is_done(self, state: SceneState) -> bool:
        """Return whether the named button is pressed, and no other is or was."""
        return depth_m(state, 0) >= PRESSED_M and _deepest_other_m(state) < PRESSED_M and not _was_wrong(state)

    def failure(self, state: SceneState) -> str:
        """Return also that another button is about to be pressed."""
        return "wrong button" if _deepest_other_m(state) >= TOUCHED_M else super().failure(state)

    def plan(self, planner: MotionPlanner) -> None:
        """Plan the waypoints that lead from here to success: over the button with the gripper closed, and down."""
        if self.is_done(planner.state) or _was_wrong(planner.state):
            return
        style = planner.style
        cap_w = planner.state.target_pos_w(0) + [0, 0, CAP_TOP_M + FINGERTIPS_M]
        over_w = cap_w + [*0.7 * style.place_offset_m, 0.0]  # not always the very middle
        planner.rise(away_from_w=over_w)
        planner.go("approach", over_w + [0, 0, style.hover_m - 0.04], None, 0.0, blend_rad=style.blend_rad / 2)
        planner.grip(0.0)
        planner.go("descend", over_w - [0, 0, DEPTH_M], None, 0.0, speed=0.6)
        planner.grip(0.0, "hold")  # the arm comes later than its command


def _add_button(spec: mujoco.MjSpec, i: int) -> None:
    """Add target `i`: a housing with a cap on a spring. A box is pressed: cylinders make poor contacts with boxes."""
    housing = spec.worldbody.add_body(name=f"target_{i}", pos=PARKED_M + [0.2 * i, 0.3, 0])
    seen = {"contype": 0, "conaffinity": 0}
    top_m = 2 * HOUSING_HALF_M[2]
    housing.add_geom(name=f"housing_{i}", type=BOX, size=HOUSING_HALF_M, pos=[0, 0, HOUSING_HALF_M[2]], rgba=DARK)
    rim = {"size": [CAP_RADIUS_M + 0.005, 0.0015, 0], "pos": [0, 0, top_m + 0.0005]}
    housing.add_geom(name=f"housing_{i}_rim", type=CYLINDER, rgba=RIM, **rim, **seen)
    cap = housing.add_body(name=f"button_{i}", pos=[0, 0, CAP_TOP_M])
    cap.add_joint(
        name=f"button_{i}", type=mujoco.mjtJoint.mjJNT_SLIDE, axis=[0, 0, -1], limited=True, range=[0, TRAVEL_M],
        stiffness=[SPRING_N_M, 0, 0], springref=-PRELOAD_M, damping=[DAMPING_NS_M, 0, 0],
        solref_limit=[0.004, 1], solimp_limit=[0.99, 0.999, 0.0005, 0.5, 2],
    )  # fmt: skip
    half_m = (CAP_TOP_M - top_m + TRAVEL_M) / 2  # so long that nothing shows below it when it is up
    low_m, side_m = [0, 0, -half_m], 0.85 * CAP_RADIUS_M
    cap.add_geom(name=f"target_{i}", type=CYLINDER, size=[CAP_RADIUS_M, half_m, 0], pos=low_m, mass=CAP_KG, **seen)
    cap.add_geom(type=BOX, size=[side_m, side_m, half_m], pos=low_m, group=3, mass=0.0)
    spec.add_exclude(bodyname1=f"target_{i}", bodyname2=f"button_{i}")


def depth_m(state: SceneState, i: int) -> float:
    """Return how far button `i` is pressed down."""
    return float(state.data.qpos[state.scene.model.joint(f"button_{i}").qposadr[0]])


def _deepest_other_m(state: SceneState) -> float:
    """Return how far the deepest of the buttons that are not named is pressed down, 0 where there is none."""
    return max((depth_m(state, i) for i in range(1, len(state.layout.target_colours))), default=0.0)


def _was_wrong(state: SceneState) -> bool:
    return cast(PressMemory, state.memory).pressed_another
