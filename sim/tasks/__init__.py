"""The tasks, one module each, by name; `Task` says what a module must offer."""

from collections.abc import Mapping
from typing import Protocol

import mujoco
import numpy as np

from sim.planning.motion_planner import MotionPlanner
from sim.randomize.ranges import RandomizeConfig
from sim.scene.build import Scene
from sim.tasks import fork, insert_peg, open_drawer, pick_place, place_in_drawer, press_button, push, reach, sort, stack


class Task(Protocol):
    """A task: what stands on the table, what is asked for, when it is done, how an expert does it.

    `layout` is every drawn value of the episode by name: what `draw_layout` returned and what
    randomization added. It holds at least `instruction`, `wording`, `object_shapes`, `object_colours`,
    `target_colours` (names joined by commas, the named one first), `object_xy_m`, `object_yaw_rad`, `target_xy_m`.
    It may hold `target_yaw_rad`, circles that clutter keeps out of (`keep_out_m`), and any value that randomization
    would draw: then the task's own stands (`start_xyz_m`, where the tool begins, counted from home).

    A module may name `FREE_LEGS`: legs of its own in which a bump or a pause of the expert does no harm.
    """

    NAME: str
    TIME_LIMIT_S: float
    SETTLED_PERIODS: int  # policy periods for which success must hold
    OBJECTS: int  # movable things
    TARGETS: int  # things that stand where the episode puts them

    @staticmethod
    def add_targets(spec: mujoco.MjSpec) -> None:
        """Bodies `target_0`.. under the world; those of their geoms whose names begin so take the episode's colours."""

    @staticmethod
    def draw_layout(rng: np.random.Generator, ranges: RandomizeConfig) -> dict:
        """Where things stand and what is asked for: numbers, names and flat lists."""
        ...

    @staticmethod
    def apply_layout(scene: Scene, data: mujoco.MjData, layout: Mapping) -> None:
        """Set the scene up as drawn."""

    @staticmethod
    def object_pos_w(scene: Scene, data: mujoco.MjData, layout: Mapping) -> np.ndarray:
        """(3,) m, the thing to act on, in the world frame."""
        ...

    @staticmethod
    def target_pos_w(scene: Scene, data: mujoco.MjData, layout: Mapping) -> np.ndarray:
        """(3,) m, where it is to go."""
        ...

    @staticmethod
    def is_done(scene: Scene, data: mujoco.MjData, layout: Mapping) -> bool:
        """The goal holds at this instant."""
        ...

    @staticmethod
    def plan(planner: MotionPlanner, layout: Mapping) -> None:
        """Append to `hand` the legs that lead from here to success, whatever has happened before."""


TASKS: dict[str, Task] = {  # pyright: ignore[reportAssignmentType] - modules; tests/sim/test_tasks.py checks them
    task.NAME: task
    for task in (fork, insert_peg, open_drawer, pick_place, place_in_drawer, press_button, push, reach, sort, stack)
}
