"""What a task is: its things, its words, when it is done or going wrong, and how an expert does it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import mujoco
import numpy as np

from sim.core import deprecated
from sim.core.registry import Registry
from sim.planning.motion_planner import MotionPlanner
from sim.randomize.ranges import RandomizeConfig
from sim.scene.layout import Layout, apply_layout
from sim.scene.placement import COLOURS
from sim.scene.shapes import SHAPES
from sim.scene.state import SceneState
from sim.tasks.instructions import NOUNS, sample_instruction
from sim.tasks.names import register_gym_id
from sim.tasks.seen import SeemsDone

WRONG_LIFTED_M = 0.03  # an object that is not to be handled was taken up so high
DROPPED_M = 0.05  # the named object lies so far from where it was, let go, and so far from its target
LIES_M = 0.01  # no higher than it was


@dataclass(frozen=True)
class Memory:
    """What a task remembers of an episode."""

    object_start_w: np.ndarray  # (objects, 3) m


class Task(ABC):
    """A task. Stateless: what is remembered of an episode is `SceneState.memory`.

    Points are (3,) m in the world frame.
    """

    name: ClassVar[str]  # as registered
    time_limit_s: ClassVar[float]
    settle_s: ClassVar[float] = 0.2  # for which the goal must hold
    success_text: ClassVar[str]  # when it is done, for people
    max_objects: ClassVar[int] = 0  # movable things
    max_targets: ClassVar[int] = 0  # things that stay where the episode puts them
    target_kind: ClassVar[str] = "plate"  # what those are, a word of `sim.tasks.instructions.NOUNS`
    target_turns: ClassVar[int] = 0  # of it that look alike, 2 or 4, where the tool must be turned as it is
    object_shapes: ClassVar[tuple[str, ...] | None] = None  # None: those of `randomize.shapes`
    named_by_kind: ClassVar[tuple[str, ...]] = ()  # shapes that its sentences name without a colour
    handled_objects: ClassVar[tuple[int, ...]] = (0,)  # that may be taken up
    brings_object: ClassVar[bool] = True  # to the target: how far from it that ends is what was placed amiss
    handled_targets: ClassVar[tuple[int, ...]] = ()  # that the gripper is to touch
    seems_done: ClassVar[SeemsDone | None] = None  # by what is seen; None: that cannot be told
    steps_of: ClassVar[tuple[str, ...]] = ()  # of one whose sentences are of several steps: tasks that have each
    sentences: ClassVar[tuple[str, ...]]  # templates of `sim.tasks.instructions`
    grammar: ClassVar[tuple[str, ...]]
    free_waypoints: ClassVar[tuple[str, ...]] = ()  # of its own, where a bump or a pause of the expert does no harm
    layout_type: ClassVar[type[Layout]] = Layout

    # ---- the scene -------------------------------------------------------------------------------

    def add_targets(self, spec: mujoco.MjSpec) -> None:  # noqa: B027 - a task may have none
        """Add bodies `target_0`.. to the world; geoms of theirs whose names begin so take the episode's colours."""

    @abstractmethod
    def draw_layout(self, rng: np.random.Generator, ranges: RandomizeConfig) -> Layout:
        """Draw where things stand and what is asked for."""

    def sample_instruction(
        self, rng: np.random.Generator, paraphrase: float, **things: tuple[str, str]
    ) -> tuple[int, str]:
        """Draw the number of a wording and the sentence; things: name in the templates -> (colour, kind)."""
        return sample_instruction(rng, paraphrase, self.sentences, self.grammar, **things)

    def taken(self, layout: Layout) -> set[tuple[str, str]]:
        """Return the shapes and colours of which no distractor may be: a sentence would name it too."""
        kinds = [*zip(layout.object_shapes, layout.object_colours, strict=True)]
        kinds += [(self.target_kind, colour) for colour in layout.target_colours]
        taken = {(shape, colour) for kind, colour in kinds for shape in SHAPES if _share_a_word(shape, kind)}
        return taken | {(shape, colour) for shape in self.named_by_kind for colour in COLOURS}

    def apply_layout(self, state: SceneState) -> None:
        """Put everything where the episode's layout has it."""
        apply_layout(state.scene, state.data, state.layout)

    # ---- what is true ----------------------------------------------------------------------------

    @abstractmethod
    def object_pos_w(self, state: SceneState) -> np.ndarray:
        """Return the point to act on."""

    @abstractmethod
    def target_pos_w(self, state: SceneState) -> np.ndarray:
        """Return where it is to go."""

    def points_w(self, state: SceneState) -> dict[str, np.ndarray]:
        """Return the grounded points by name: what a policy may learn to see."""
        return {"object": self.object_pos_w(state), "target": self.target_pos_w(state)}

    def step_points_w(self, state: SceneState, step: int) -> dict[str, np.ndarray]:
        """Return the grounded points of one of the steps that the layout's `subtasks` name."""
        return self.points_w(state)

    def graspable(self, state: SceneState) -> int | None:
        """Return the object that the gripper may hold for this task now; None for none."""
        return self.handled_objects[0] if self.max_objects and self.handled_objects else None

    def handled_bodies(self, state: SceneState) -> np.ndarray:
        """Return the bodies that the gripper is to touch for what is asked."""
        objects = state.scene.objects[list(self.handled_objects)] if self.max_objects else np.empty(0, int)
        return np.concatenate([objects, state.scene.targets[list(self.handled_targets)]])

    def other_bodies(self, state: SceneState) -> np.ndarray:
        """Return the bodies that it could take for those: the task's other things of the same kind, and distractors."""
        scene, layout = state.scene, state.layout
        distractors = scene.objects[self.max_objects :][: len(layout.distractor_shapes)]
        objects = scene.objects[: len(layout.object_shapes)]
        targets = scene.targets[: len(layout.target_colours)] if self.handled_targets else scene.targets[:0]
        return np.setdiff1d(np.concatenate([objects, targets, distractors]), self.handled_bodies(state))

    def first_memory(self, state: SceneState) -> Memory:
        """Return what is remembered when an episode begins."""
        return Memory(state.data.xpos[state.scene.objects].copy())

    def remember(self, state: SceneState) -> Memory:
        """Return `state.memory` after one more policy period."""
        return state.memory

    @abstractmethod
    def is_done(self, state: SceneState) -> bool:
        """Return whether the goal holds at this instant. Changes nothing."""

    def failure(self, state: SceneState) -> str:
        """Return what an onlooker would step in for while the task can still be done; "" for nothing."""
        if self.lifts_wrong_object(state):
            return "wrong object"
        return "dropped" if self.has_dropped(state) else ""

    def subtasks_done(self, state: SceneState) -> int:
        """Return how many of the sub-tasks are done."""
        return int(self.is_done(state))

    # ---- the expert ------------------------------------------------------------------------------

    @abstractmethod
    def plan(self, planner: MotionPlanner) -> None:
        """Append the waypoints that lead from here to success, whatever has happened before."""

    # ---- what failures have in common ------------------------------------------------------------

    def lifts_wrong_object(self, state: SceneState) -> bool:
        """Return whether an object that the task does not handle was taken up."""
        handled = self.handled_objects if self.max_objects else ()
        raised_m = state.data.xpos[state.scene.objects, 2] - state.memory.object_start_w[:, 2]
        return bool((np.delete(raised_m, handled) > WRONG_LIFTED_M).any())

    def has_dropped(self, state: SceneState) -> bool:
        """Return whether the object was moved and lies on the table, the gripper open, away from its target."""
        i = self.graspable(state)
        if i is None or state.opening <= 0.8:
            return False
        moved = state.object_pos_w(i) - state.memory.object_start_w[i]
        away = np.linalg.norm((state.object_pos_w(i) - self.target_pos_w(state))[:2])
        return bool(np.linalg.norm(moved[:2]) > DROPPED_M and moved[2] < LIES_M and away >= DROPPED_M)


def _share_a_word(one: str, other: str) -> bool:
    """Return whether two kinds may be called the same, as a block and a cube."""
    return not set(NOUNS.get(one, (one,))).isdisjoint(NOUNS.get(other, (other,)))


TASKS = Registry[Task]("task", "sim.tasks", deprecated.TASKS)
T = TypeVar("T", bound=type[Task])


def register_task(name: str) -> Callable[[T], T]:
    """Return a decorator that registers a task, with its gymnasium id."""

    def add(cls: T) -> T:
        cls.name = name
        TASKS.register(name)(cls())
        register_gym_id(name)
        return cls

    return add


def single_step_tasks() -> tuple[str, ...]:
    """Return the registered tasks whose sentences are of one step each."""
    return tuple(name for name in TASKS.names() if not TASKS.get(name).steps_of)
