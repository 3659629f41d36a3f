"""The motion guard: between every policy and every arm, simulated or real.

Pure: no clock, no socket, no simulator. It looks at the observation, the action asked and the
action sent before, and answers with an action that no limit forbids and the reasons it had to
change it. A jump or stale data latches it: from then on the arm holds still until a person resets.
It is no safety device; the red button is.
"""

from dataclasses import dataclass, field

import numpy as np

from sim.contract import POLICY_PERIOD_S, Observation, check_action
from sim.robot import Robot

MAX_AGE_S = 0.25  # five policy periods without news


@dataclass
class GuardReport:
    """How often each limit spoke in an episode, and what latched the guard."""

    counts: dict[str, int] = field(default_factory=dict)
    latched: str = ""

    def count(self, reason: str) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + 1


class MotionGuard:
    """Position, speed, step and staleness limits for one arm."""

    def __init__(self, robot: Robot, period_s: float = POLICY_PERIOD_S, max_age_s: float = MAX_AGE_S):
        self._low, self._high = robot.action_min, robot.action_max
        self._joints = robot.joints
        self._max_step_rad = robot.max_step_rad
        self._speed_step_rad = robot.policy_speed_rad_s * period_s
        self._max_age_s = max_age_s
        self.reset(np.zeros(robot.action_dim))

    def reset(self, state: np.ndarray) -> None:
        """Begin an episode at the measured `state` (D,)."""
        self._sent = np.asarray(state, np.float32).copy()
        self.report = GuardReport()

    def check(self, observation: Observation, asked: np.ndarray) -> np.ndarray:
        """The action (D,) that may be sent for the one `asked`; see `report` for what was changed."""
        fault = self.report.latched or self._fault(observation, asked)
        if fault:
            self.report.latched = fault
            self.report.count(fault)
            return self._sent.copy()
        action = np.clip(check_action(asked, len(self._low)), self._low, self._high)
        if (action != asked).any():
            self.report.count("position")
        self._sent = self._limit_speed(action)
        return self._sent.copy()

    def _fault(self, observation: Observation, asked: np.ndarray) -> str:
        joints = slice(0, self._joints)
        if not np.isfinite(asked).all():
            return "not finite"
        if not np.isfinite(observation.state).all():
            return "state not finite"
        if not observation.age_s <= self._max_age_s:  # an age that is no number is stale too
            return "stale observation"
        if np.abs(asked[joints] - observation.state[joints]).max() > self._max_step_rad:
            return "jump of the target"
        if np.abs(self._sent[joints] - observation.state[joints]).max() > self._max_step_rad:
            return "jump of the measurement"
        return ""

    def _limit_speed(self, action: np.ndarray) -> np.ndarray:
        """Scale the joint step as a whole, so that the path keeps its direction."""
        step = action[: self._joints] - self._sent[: self._joints]
        excess = np.abs(step).max() / self._speed_step_rad
        if excess <= 1.0:
            return action
        self.report.count("speed")
        limited = action.copy()
        limited[: self._joints] = self._sent[: self._joints] + step / excess
        return np.clip(limited, self._low, self._high)
