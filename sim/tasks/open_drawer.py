"""Open a drawer: "open the red drawer", one of a small cabinet's, by its handle."""

import mujoco
import numpy as np

from sim.planning import drawer
from sim.planning.motion_planner import MotionPlanner
from sim.randomize.ranges import RandomizeConfig
from sim.scene import cabinet
from sim.scene.layout import Layout
from sim.scene.placement import draw_colours
from sim.scene.state import SceneState
from sim.tasks.base import Task, register_task
from sim.tasks.seen import PulledOut

OPEN_M = 0.06
WRONG_OPEN_M = 0.02  # so far out, another drawer is being opened


@register_task("open_drawer")
class OpenDrawer(Task):
    """The named drawer is to be open."""

    time_limit_s = 15.0
    success_text = "the named drawer open by 60 mm or more and no other, at rest, untouched by the arm"
    max_objects = 0
    max_targets = 2
    handled_targets = (0,)
    brings_object = False
    target_kind = "drawer"
    target_turns = 2  # the fingers open along its panel, either way round
    seems_done = PulledOut(cabinet.BAR_X_M + cabinet.DEPTH_M / 2 + OPEN_M)
    sentences = (
        "open the {target}",
        "pull the {target} open",
        "pull out the {target}",
        "slide the {target} open",
        "open the {target_too}",
        "the {target} should be open",
        "I want the {target} open",
        "move the {target_too} out",
    )
    layout_type = cabinet.DrawerLayout
    grammar = (
        "{please}{open} the {target}",
        "{please}pull out the {target}",
        "{please}grab the handle of the {target} and pull",
        "the {target} should stand open",
        "find the {target} and open it",
        "{please}pull the {target} out of the cabinet",
    )

    def add_targets(self, spec: mujoco.MjSpec) -> None:
        """Add two cabinets."""
        for i in range(self.max_targets):
            cabinet.add_cabinet(spec, i)

    def draw_layout(self, rng: np.random.Generator, ranges: RandomizeConfig) -> Layout:
        """Draw one or two drawers, all closed. Index 0 is the named one."""
        drawers = int(rng.integers(1, self.max_targets + 1))
        cabinets, colours = cabinet.draw_cabinets(rng, drawers), draw_colours(rng, drawers)
        wording, sentence = self.sample_instruction(rng, ranges.paraphrase, target=(colours[0], "drawer"))
        return cabinet.DrawerLayout(
            instruction=sentence, wording=wording, target_colours=colours, drawer_open_m=(0.0,) * drawers,
            **cabinets.layout_values(),
        )  # fmt: skip

    def apply_layout(self, state: SceneState) -> None:
        """Put everything where it stands, the drawers as far open as drawn."""
        cabinet.apply_drawer_layout(state)

    def object_pos_w(self, state: SceneState) -> np.ndarray:
        """Return the middle of the named drawer's handle."""
        return cabinet.bar_w(state, 0, cabinet.opening_m(state, 0))

    def target_pos_w(self, state: SceneState) -> np.ndarray:
        """Return the middle of the top of the named drawer's cabinet: away from there the handle is pulled."""
        return cabinet.top_w(state, 0)

    def is_done(self, state: SceneState) -> bool:
        """Return whether the named drawer is open by OPEN_M at least and no other is, at rest, untouched by the arm."""
        still = cabinet.speed_m_s(state, 0) < 0.02 and not cabinet.is_touched(state, 0)
        return cabinet.opening_m(state, 0) >= OPEN_M and still and not _opens_another(state)

    def failure(self, state: SceneState) -> str:
        """Return also that another drawer is being opened."""
        return "wrong drawer" if _opens_another(state) else super().failure(state)

    def plan(self, planner: MotionPlanner) -> None:
        """Plan the waypoints that lead from here to success, whatever has happened before."""
        if self.is_done(planner.state):
            drawer.rise(planner)
        else:
            drawer.pull_open(planner, 0)


def _opens_another(state: SceneState) -> bool:
    return any(cabinet.opening_m(state, i) > WRONG_OPEN_M for i in range(1, len(state.layout.target_colours)))
