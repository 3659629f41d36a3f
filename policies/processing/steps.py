"""Long instructions step by step: which step was due at each recorded frame, and which one is due at a look.

A step names one object and its target, as the instructions of short tasks do, so that what finds named things and acts
on them does a long task as well. Shapes: T frames of an episode, S steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from policies.core.parts import NOWHERE_M
from sim.core.contract import HOLDING_OPENING, IN_HAND_M
from sim.dataset.reader import Dataset
from sim.tasks.steps import opens

STEPS = "draw/subtasks"  # of an episode's metadata, ";" between them
PLACES = "draw/target_xy_m"  # of an episode's metadata: x and y of the target of each step, but for drawers
TARGET = "grounding.target_pos_w"  # the simulator's label is of the step that is due
MOVED_M = 0.02  # farther apart are two targets
NEAR_M = 0.12  # from the tool point: what it is over it goes on with
ON_PLATE_M = 0.04  # horizontally
# From a handle to the floor of its drawer, horizontally: 8 mm where closed, 84 mm and more where open far enough. The
# floor that is asked for of a closed drawer is that of one open far enough (`sim.tasks.place_in_drawer`).
OPEN_AT_M = 0.073  # a drawer that is being opened is open
CLOSED_AT_M = 0.040  # any other is closed


def frame_sentences(dataset: Dataset, episode: int, *, by_step: bool) -> list[str]:
    """Return what a policy is told at each frame: the instruction, or by_step the step of it that was due."""
    told = [dataset.instruction(episode)] * dataset.length(episode)
    steps = dataset.episode_metadata(episode).get(STEPS) if by_step else None
    if not steps or TARGET not in dataset.features.columns:
        return told
    names, shown = str(steps).split(";"), dataset.columns(episode, [TARGET])[TARGET]
    places = np.reshape(dataset.episode_metadata(episode).get(PLACES, []), (-1, 2))[: len(names)]
    known = len(places) == len(names) and not opens(names[0])
    due = _nearest(shown[:, :2], places) if known else _in_order_of_appearance(shown)
    return told if due.max() >= len(names) else [names[number] for number in due]


def _nearest(shown: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return which of the places (S, 2) m each frame (T, 2) shows: steps need not be done in their order."""
    return np.linalg.norm(shown[:, None] - places, axis=2).argmin(1)


def _in_order_of_appearance(places: np.ndarray) -> np.ndarray:
    """Return the number (T,) of the place (T, 3) m that each frame shows; places are far apart."""
    known: list[np.ndarray] = []
    numbers = []
    for place in places:
        near = [i for i, one in enumerate(known) if np.linalg.norm(one - place) < MOVED_M]
        if not near:
            known.append(place)
        numbers.append(near[0] if near else len(known) - 1)
    return np.array(numbers)


@dataclass
class StepMemory:
    """Which step of an instruction was due at the look before, in one episode."""

    told: str = ""
    due: int | None = None

    def see(self, instruction: str, steps: Sequence[str], points: Tensor, opening: float) -> int:
        """Return which of the instruction's steps is due, as `step_due`."""
        before = self.due if instruction == self.told else None
        self.told, self.due = instruction, step_due(steps, points, opening, before)
        return self.due


def step_due(steps: Sequence[str], points: Tensor, opening: float, before: int | None = None) -> int:
    """Return the number of the step that is due, of S `possible_steps`.

    points (S, 4, 4) m: object and target of each step in the base frame, then seen from the tool, and their errors.
    opening: of the gripper. before: the step that was due at the look before. What speaks against it must be clear: a
    policy that is told one step and the other in turn does neither.
    """
    there = (points[:, :2, 3] < NOWHERE_M).all(1)
    reach = points[:, 2, :3].norm(dim=-1)
    held = there & (reach < IN_HAND_M) & (opening < HOLDING_OPENING)
    if opens(steps[0]):
        return 1 if held[1] else _opening_due(points, before)
    if held.any():
        return _least(reach, held)
    return _pair_due(points, there, reach, before)


def _opening_due(points: Tensor, before: int | None) -> int:
    """Return 0 while a drawer is to be opened, 1 after: by the handle of the first step and the floor of the second."""
    handle, floor = points[0, 0], points[1, 1]
    if max(handle[3], floor[3]) >= NOWHERE_M:
        return 1 if before is None else before
    apart = (handle[:2] - floor[:2]).norm()
    return int(apart > (OPEN_AT_M if before == 0 else CLOSED_AT_M))


def _pair_due(points: Tensor, there: Tensor, reach: Tensor, before: int | None) -> int:
    """Return which object is to go to its target, of what is not there yet: the one before, else what the tool is over,
    else the first from the arm's left."""
    away = (points[:, 0, :2] - points[:, 1, :2]).norm(dim=-1)
    left = there & (away > ON_PLATE_M)
    if before is not None and left[before]:
        return before
    if (near := left & (reach < NEAR_M)).any():
        return _least(reach, near)
    return _least(points[:, 0, 1], left if left.any() else there)


def _least(values: Tensor, among: Tensor) -> int:
    """Return the number of the least of the values (S,) where `among` (S,) is true; 0 where it nowhere is."""
    return int(values.where(among, values.new_tensor(float("inf"))).argmin())
