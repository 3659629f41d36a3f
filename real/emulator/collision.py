"""Collision detection of the emulated controller.

The real one compares motor currents with a model of the arm. The twin reports positions only, so
this compares them with where a drive that follows with a lag would be: an arm that something holds
back falls behind. Levels as on the controller: 1 the most sensitive, 10 the least.
"""

import numpy as np

from real.fairino.fault_codes import Code
from sim.robots.fairino_fr3 import SERVO_PERIOD_S

LAG_S = 0.02  # of the twin's drives
FREE_DEG, DEG_PER_LEVEL = 1.0, 1.2  # a free arm strays by 0.9 deg at the policy's speed
FIRST_LEVEL = 10  # an arm that presses on an object yields 0.2 rad; that is no collision
DEG_PER_DEG_S = 0.02  # the lag differs by randomization
CONTINUE = 1  # the strategy that ignores collisions
STRATEGIES = range(6)
SETTLE_CYCLES = 25  # the arm sags when its load changes


class CollisionDetector:
    """One arm. `allowed_deg` (6,) beside the lag."""

    def __init__(self, joint_deg: np.ndarray):
        self.levels = np.full(len(joint_deg), float(FIRST_LEVEL))
        self.strategy = 0
        self.reset(joint_deg)

    def reset(self, joint_deg: np.ndarray) -> None:
        self._expected_deg = np.array(joint_deg, float)
        self._settling = SETTLE_CYCLES

    @property
    def allowed_deg(self) -> np.ndarray:
        return FREE_DEG + DEG_PER_LEVEL * self.levels

    def set_levels(self, mode: int, levels: list) -> int:
        """Set the levels; mode 0: levels 1..10; mode 1: 0..100 %, of which each tenth is a level."""
        span = {0: (1, 10), 1: (0, 100)}.get(mode)
        if span is None or len(levels) != len(self.levels):
            return Code.WRONG_VALUE
        if not all(span[0] <= level <= span[1] for level in levels):
            return Code.COLLISION_LEVEL if min(levels) < span[0] else Code.WRONG_VALUE
        self.levels = np.array(levels, float) / (1 if mode == 0 else 10)
        return Code.OK

    def set_strategy(self, strategy: int) -> int:
        if strategy not in STRATEGIES:
            return Code.WRONG_VALUE
        self.strategy = strategy
        return Code.OK

    def update(self, target_deg: np.ndarray, measured_deg: np.ndarray) -> bool:
        """Update once a cycle; return whether something holds the arm back."""
        before = self._expected_deg
        self._expected_deg = before + (target_deg - before) * (SERVO_PERIOD_S / LAG_S)
        if self._settling:
            self._settling -= 1
            return False
        lag_deg = DEG_PER_DEG_S * np.abs(self._expected_deg - before) / SERVO_PERIOD_S
        held_back = np.abs(self._expected_deg - measured_deg) > self.allowed_deg + lag_deg
        return self.strategy != CONTINUE and bool(held_back.any())
