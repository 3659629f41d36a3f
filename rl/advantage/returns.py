"""Rewards, returns and the value's bins (RECAP, pi*-0.6, section V-C). Pure numpy.

    r_t = -1,  r_last = 0 on success, -C_fail on failure;  G_t = r_t + ... + r_last, no discount

The paper gives neither C_fail nor how a failure is mapped into [-1, 0]. Chosen here: C_fail is the
task's time limit T_max, and (convention A) G / T_max clipped at -1, so that every frame of a failed
episode is worth -1. Convention B, G / (T_max + C_fail), keeps "how far from the end" inside
failures, but there a doomed frame then looks average. A time-out is a failure.

Shapes: T frames of an episode, N values, BINS bins.
"""

import enum
from dataclasses import dataclass

import numpy as np

BINS = 201  # uniform on [-1, 0], spacing 0.005


class Convention(enum.Enum):
    """How returns become values in [-1, 0]."""

    A = "A"  # G / T_max, clipped at -1
    B = "B"  # G / (T_max + C_fail)


@dataclass(frozen=True)
class ReturnScale:
    """One task's scale. time_limit_steps: T_max; fail_cost: C_fail in steps, T_max where None."""

    time_limit_steps: int
    fail_cost: float | None = None
    convention: Convention = Convention.A

    def __post_init__(self) -> None:
        if self.time_limit_steps < 1:
            raise ValueError(f"time_limit_steps is {self.time_limit_steps}, expected at least 1")
        if self.cost < self.time_limit_steps:  # else failing at once beats succeeding late
            raise ValueError(f"fail_cost is {self.cost}, expected at least the time limit, {self.time_limit_steps}")

    @property
    def cost(self) -> float:
        """C_fail in steps."""
        return float(self.time_limit_steps if self.fail_cost is None else self.fail_cost)

    @property
    def steps_per_unit(self) -> float:
        """The divisor of returns in steps."""
        return self.time_limit_steps + (self.cost if self.convention is Convention.B else 0.0)


def rewards(length: int, scale: ReturnScale, *, success: bool) -> np.ndarray:
    """Return the rewards (T,) in steps: -1, and at the end 0 or -C_fail."""
    steps = np.full(length, -1.0)
    steps[-1:] = 0.0 if success else -scale.cost
    return steps


def returns(steps: np.ndarray) -> np.ndarray:
    """Sum the rewards (T,) in steps from each frame to the end: (T,)."""
    return np.cumsum(steps[::-1])[::-1]


def normalize(raw: np.ndarray, scale: ReturnScale) -> np.ndarray:
    """Convert returns in steps to values in [-1, 0]."""
    return np.clip(raw / scale.steps_per_unit, -1.0, 0.0)


def two_hot(values: np.ndarray) -> np.ndarray:
    """(N,) in [-1, 0] -> float32 (N, BINS): the two nearest bins share the weight, their mean is the value."""
    place = (np.clip(values, -1.0, 0.0) + 1.0) * (BINS - 1)
    low = np.minimum(place.astype(int), BINS - 2)
    share = (place - low).astype(np.float32)
    rows, target = np.arange(len(low)), np.zeros((len(low), BINS), np.float32)
    target[rows, low], target[rows, low + 1] = 1.0 - share, share
    return target
