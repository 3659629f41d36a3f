"""Tasks of several placings: object `i` belongs on plate `i`, one after the other."""

from typing import ClassVar

import numpy as np

from sim.scene.fixtures import PLATE_TOP_M
from sim.scene.state import SceneState
from sim.tasks.base import Task
from sim.tasks.pick_place import stands_on_plate

CLEARANCE_M = 0.03  # of carrying over what stands on plates
OVER_M = 0.045  # sideways: an object nearer to the middle of a plate is in the way of another


class Placings(Task):
    """What is due, and where, is that of the first object that is not on its plate yet or still in hand, of the last
    one if all are."""

    placings: ClassVar[int]

    def stand(self, state: SceneState) -> list[bool]:
        """Return of each placing whether the object stands on its plate, released and at rest."""
        return [stands_on_plate(state, i, i) for i in range(self.placings)]

    def due(self, state: SceneState) -> int:
        """Return the placing that is due: a snapshot too, which knows of no contacts, tells what is in hand."""
        over = [stands and not state.is_in_hand(i) for i, stands in enumerate(self.stand(state))]
        return self.placings - 1 if all(over) else over.index(False)

    def object_pos_w(self, state: SceneState) -> np.ndarray:
        """Return the centre of the object that is due."""
        return self.step_points_w(state, self.due(state))["object"]

    def target_pos_w(self, state: SceneState) -> np.ndarray:
        """Return the centre of the top of that object's plate."""
        return self.step_points_w(state, self.due(state))["target"]

    def step_points_w(self, state: SceneState, step: int) -> dict[str, np.ndarray]:
        """Return where the object of a step is and where the top of its plate."""
        return {"object": state.object_pos_w(step), "target": state.target_pos_w(step) + [0, 0, PLATE_TOP_M]}

    def graspable(self, state: SceneState) -> int | None:
        """Return the object that is due."""
        return self.due(state)
