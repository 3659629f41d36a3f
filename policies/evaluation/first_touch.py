"""What the gripper touched first in an episode: what it was to handle, or another thing."""

from collections.abc import Sequence

import numpy as np

from sim.envs.simulation import Simulation
from sim.episode.loop import Step

HANDLED, OTHER = "handled", "other"


class FirstTouch:
    """Watches an episode of a simulated world. Satisfies `sim.episode.loop.Recorder`.

    first: HANDLED, OTHER or "", while nothing of the task was touched. others: how many things it could have taken
    for those that it is to handle.
    """

    def __init__(self, world: Simulation):
        self._world = world
        self.first, self.others = "", 0

    def add(self, step: Step) -> None:
        if not self.first:
            self.first = self._touched()

    def _touched(self) -> str:
        state, task = self._world.scene_state, self._world.task
        others = task.other_bodies(state)
        self.others = len(others)
        touched = state.touched_bodies()
        if np.isin(touched, task.handled_bodies(state)).any():
            return HANDLED
        return OTHER if np.isin(touched, others).any() else ""

    def row(self) -> dict:
        """Return what results.json holds of it in an episode."""
        return {"first_touched": self.first, "other_things": self.others}


def summary(episodes: Sequence[dict]) -> dict:
    """Return in how many episodes with other things one of those was touched first, of how many, and the share."""
    mistakable = [one for one in episodes if one["other_things"]]
    wrong = sum(one["first_touched"] == OTHER for one in mistakable)
    return {
        "wrong_first": wrong,
        "wrong_first_n": len(mistakable),
        "wrong_first_rate": wrong / len(mistakable) if mistakable else None,
    }
