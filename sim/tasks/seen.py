"""When a step seems done, by what an onlooker sees: the named things, the tool and the fingers. No simulator is asked.

A task names one of these as `seems_done`. Distances are seen from above, m.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sim.core.contract import HOLDING_OPENING


@dataclass(frozen=True)
class Seen:
    """One look. Points are (3,) m in the base's frame, as `Task.points_w` has them."""

    object_w: np.ndarray
    target_w: np.ndarray
    tool_w: np.ndarray
    opening: float  # of the gripper, 0 closed .. 1 open

    @property
    def away_m(self) -> float:
        """From the object to its target."""
        return float(np.linalg.norm((self.object_w - self.target_w)[:2]))

    @property
    def let_go(self) -> bool:
        return self.opening >= HOLDING_OPENING


class SeemsDone(Protocol):
    """Whether a step seems done at a look."""

    def __call__(self, seen: Seen) -> bool: ...


@dataclass(frozen=True)
class PutDown:
    """The object is at its target and the fingers are open."""

    within_m: float

    def __call__(self, seen: Seen) -> bool:
        return seen.let_go and seen.away_m <= self.within_m


@dataclass(frozen=True)
class Slid:
    """The object is at its target, whatever the fingers do."""

    within_m: float

    def __call__(self, seen: Seen) -> bool:
        return seen.away_m <= self.within_m


@dataclass(frozen=True)
class PulledOut:
    """The object, a handle, is so far from where it is pulled away from, and the fingers are open."""

    beyond_m: float

    def __call__(self, seen: Seen) -> bool:
        return seen.let_go and seen.away_m >= self.beyond_m


@dataclass(frozen=True)
class ToolOver:
    """The tool is over the target, and no higher above it than that."""

    within_m: float
    above_m: float

    def __call__(self, seen: Seen) -> bool:
        over = seen.tool_w - seen.target_w
        return bool(np.linalg.norm(over[:2]) <= self.within_m and over[2] <= self.above_m)
