"""Two placings in a given order: "put the red cube on the green plate, then put the blue cube on the yellow plate".

Object `i` belongs on plate `i`, object 0 first. Each step is a sentence of `pick_place`; the whole is for a planner,
which tells a policy one step at a time.
"""

from dataclasses import dataclass, replace

import mujoco
import numpy as np

from sim.planning.motion_planner import MotionPlanner
from sim.randomize.ranges import RandomizeConfig
from sim.scene import fixtures
from sim.scene.layout import Layout, as_points
from sim.scene.placement import draw_colours, draw_places, draw_shapes, draw_yaws
from sim.scene.state import SceneState
from sim.tasks.base import Memory, register_task
from sim.tasks.instructions import sample_instruction
from sim.tasks.pick_place import gaps_m
from sim.tasks.placings import CLEARANCE_M, OVER_M, Placings

STEPS = 2
MOST = 3  # objects, and plates
PLACINGS = (  # short: the whole instruction is to fit into a policy's words
    "put the {object} on the {target}",
    "place the {object} onto the {target}",
    "move the {object} to the {target}",
    "the {object} goes on the {target}",
    "I want the {object_too} on the {target_too}",
)


@dataclass(frozen=True)
class TurnMemory(Memory):
    """done: steps that were done in their order. out_of_order: a later one was done before its turn."""

    done: int = 0
    out_of_order: bool = False


@register_task("place_in_turn")
class PlaceInTurn(Placings):
    """One named object goes onto its plate, then another onto another."""

    time_limit_s = 36.0
    success_text = "both named objects on their plates, released and at rest, the first one there before the second"
    placings = STEPS
    max_objects = max_targets = MOST
    handled_objects = tuple(range(STEPS))
    steps_of = ("pick_place",)
    sentences = (
        "{first}, then {second}",
        "{first} and then {second}",
        "{first}, after that {second}",
        "first {first}, then {second}",
        "{first}; then {second}",
        "{first} and {second}",
    )
    grammar = ("{first}, and then {second}", "{first}. Then {second}", "{first}, and {second}", "{first}, {second}")

    def add_targets(self, spec: mujoco.MjSpec) -> None:
        """Add three plates."""
        for i in range(MOST):
            fixtures.add_plate(spec, i)

    def draw_layout(self, rng: np.random.Generator, ranges: RandomizeConfig) -> Layout:
        """Draw where two or three objects and plates stand and what is asked for."""
        objects, plates = rng.integers(STEPS, MOST + 1, 2).tolist()
        placed = draw_places(rng, gaps_m(["plate"] * plates + ["object"] * objects))
        colours, plate_colours = draw_colours(rng, objects), draw_colours(rng, plates)
        shapes = draw_shapes(rng, ranges.shapes, objects)
        steps = tuple(
            sample_instruction(
                rng, 0.0, PLACINGS, (), object=(colours[i], shapes[i]), target=(plate_colours[i], "plate")
            )[1]
            for i in range(STEPS)
        )
        wording, sentence = self._joined(rng, ranges.paraphrase, steps)
        return Layout(
            instruction=sentence, wording=wording, subtasks=steps,
            object_shapes=shapes, object_colours=colours, object_xy_m=as_points(placed[plates:]),
            object_yaw_rad=draw_yaws(rng, objects),
            target_colours=plate_colours, target_xy_m=as_points(placed[:plates]),
        )  # fmt: skip

    def _joined(self, rng: np.random.Generator, paraphrase: float, steps: tuple[str, ...]) -> tuple[int, str]:
        """Return the number of a way to join the steps and the sentence."""
        first = len(self.sentences) if rng.random() < paraphrase else 0
        ways = self.grammar if first else self.sentences
        number = int(rng.integers(len(ways)))
        return first + number, ways[number].format(first=steps[0], second=steps[1])

    # ---- what is true ----------------------------------------------------------------------------

    def first_memory(self, state: SceneState) -> TurnMemory:
        """Return that nothing is done yet."""
        return TurnMemory(super().first_memory(state).object_start_w)

    def remember(self, state: SceneState) -> TurnMemory:
        """Return how many steps are done by now, and whether in their order."""
        memory, stands = state.memory, self.stand(state)
        done = memory.done + (memory.done < STEPS and stands[memory.done])
        return replace(memory, done=done, out_of_order=memory.out_of_order or any(stands[done + 1 :]))

    def subtasks_done(self, state: SceneState) -> int:
        """Return how many steps were done in their order."""
        return state.memory.done

    def is_done(self, state: SceneState) -> bool:
        """Return whether both objects stand on their plates, and the first one stood there first."""
        return all(self.stand(state)) and not state.memory.out_of_order

    def failure(self, state: SceneState) -> str:
        """Return also that the steps are done in another order."""
        return "wrong order" if state.memory.out_of_order else super().failure(state)

    # ---- the expert ------------------------------------------------------------------------------

    def plan(self, planner: MotionPlanner) -> None:
        """Plan the step that is due; what is in its way is put aside first."""
        i, state = self.due(planner.state), planner.state
        if all(self.stand(state)):
            planner.retreat()
            return
        others = [k for k in range(len(state.layout.object_shapes)) if k != i]
        aside = [k for k in others if planner.holds(k)] or [k for k in others if _is_over(planner, k, i)]
        if aside:
            planner.put_aside(aside[0])
            return
        if not planner.holds(i):
            planner.pick(i)
        plate_w = self.target_pos_w(state) + [*planner.style.place_offset_m, 0.0]
        planner.place(i, plate_w, carry_m=planner.style.carry_m + CLEARANCE_M)


def _is_over(planner: MotionPlanner, k: int, plate: int) -> bool:
    """Return whether object `k` is over a plate."""
    away = planner.object_pos_w(k) - planner.state.target_pos_w(plate)
    return bool(np.linalg.norm(away[:2]) < OVER_M)
