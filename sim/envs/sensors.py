"""Sensors that are late: what the policy sees at the end of a period was taken some physics steps before."""

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from sim.scene.build import PHYSICS_DT_S

Reading = TypeVar("Reading")
FRAMES_APART = 1 << 32  # more than an episode has


@dataclass(frozen=True)
class Frame:
    """One instant as one camera saw it; drawn on first access and kept."""

    qpos: np.ndarray
    number: int  # policy period, FRAMES_APART on for each episode before in the same world: seeds the image's noise
    stamp_s: float
    drawn: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)  # by camera and kind


class DelayedSensor(Generic[Reading]):
    """One sensor, `delay_s` late: takes a reading in every policy period and shows that of so long ago.

    steps_per_action: physics steps in a policy period.
    """

    def __init__(self, delay_s: float, first: Reading, steps_per_action: int):
        self._steps_per_action = steps_per_action
        periods, self._steps_back = divmod(round(delay_s / PHYSICS_DT_S), steps_per_action)
        self._taken = deque([first] * (periods + 1), maxlen=periods + 1)

    def step_to_take(self, jitter_s: float = 0.0) -> int:
        """Return in which of a period's physics steps, 1 to the last, the reading is to be taken; `jitter_s`
        earlier."""
        return max(self._steps_per_action - self._steps_back - round(jitter_s / PHYSICS_DT_S), 1)

    def take(self, reading: Reading) -> None:
        self._taken.append(reading)

    @property
    def newest(self) -> Reading:
        return self._taken[-1]

    @property
    def shown(self) -> Reading:
        """What the policy sees now."""
        return self._taken[0]
