"""The motion guard: between every policy and every arm, simulated or real.

Pure: no clock, no socket, no simulator. It looks at the observation, the requested action and what it sent
before, and answers with an action that no limit forbids and the reasons it had to change it. It

- scales a target that is out of range, too fast or too sudden (`sim.guard.limits`);
- slows and stops, along the path, before table, arm or keep-out box comes nearer than allowed on the way
  to the target, on the rest of the chunk or while stopping from there (`sim.guard.clearance`, where given);
- latches on stale or broken data, a jump, or an arm that does not follow: it comes to rest along its
  path and stays until a person resets it.

It is no safety device; the emergency stop is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from sim.core.contract import Observation, check_action
from sim.guard.limits import MotionLimits
from sim.guard.stopping import stopping_ways
from sim.robots.robot import Robot

MAX_AGE_S = 0.25  # without news: five periods of a policy at 20 Hz
FOLLOW_S = 0.25  # what delays and drives may take beyond the age of the news
# Farther from everything commanded lately, the arm does not follow. Pressing on an object it yields 0.2 rad.
DISAGREEMENT_RAD = 0.3


class Distances(Protocol):
    """Knows what is near the arm (`sim.guard.clearance.Clearance`)."""

    def reset(self, joints_rad: np.ndarray) -> None: ...
    def blocked(self, ways: Sequence[np.ndarray]) -> str: ...


@dataclass
class GuardReport:
    """How often each limit applied in an episode, and what latched the guard."""

    counts: dict[str, int] = field(default_factory=dict)
    latched: str = ""

    def count(self, reason: str) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + 1


class MotionGuard:
    """The limits of one arm. Without `clearance` it knows nothing of table, arm and obstacles."""

    def __init__(self, robot: Robot, clearance: Distances | None = None, max_age_s: float = MAX_AGE_S):
        self._robot, self._clearance = robot, clearance
        self._low, self._high = robot.action_min, robot.action_max
        self._joints = robot.joints
        self._limits = MotionLimits(robot)
        self._max_age_s = max_age_s
        periods = max(round((max_age_s + FOLLOW_S) / robot.control_period_s), 1)
        self._lately = np.zeros((periods, robot.joints))
        self.reset(np.zeros(robot.action_dim))

    def reset(self, state: np.ndarray) -> None:
        """Begin an episode at the measured `state` (D,), at rest."""
        self.rebase(state)
        self.report = GuardReport()

    def rebase(self, state: np.ndarray) -> None:
        """Go on from `state` (D,), at rest, where something else has moved the arm in the meantime."""
        self._sent = np.asarray(state, np.float32).copy()
        joints = self._sent[: self._joints]
        self._limits.reset(joints)
        self._low[: self._joints] = np.minimum(self._robot.action_min[: self._joints], joints)
        self._high[: self._joints] = np.maximum(self._robot.action_max[: self._joints], joints)
        self._lately[:] = joints
        self._periods = 0
        if self._clearance:
            self._clearance.reset(self._limits.position)

    @property
    def sent(self) -> np.ndarray:
        """(D,) the action sent last; after a reset or `rebase`, where the arm stood."""
        return self._sent.copy()

    @property
    def step_rad(self) -> np.ndarray:
        """(joints,) how far the last action went beyond the one before."""
        return self._limits.step.copy()

    def check(self, observation: Observation, requested: np.ndarray, upcoming: np.ndarray | None = None) -> np.ndarray:
        """Return the action (D,) that may be sent for the `requested` one; see `report` for what was changed.

        upcoming: (n, D) what will be requested next, as far as it is known.
        """
        requested = np.asarray(requested, np.float32)  # as it is sent: a float64 would differ from that
        fault = self.report.latched or self._fault(observation, requested)
        if fault:
            self.report.latched = fault
            self.report.count(fault)
            return self._send(self._limits.braking(), float(self._sent[-1]))
        action = np.minimum(np.maximum(check_action(requested, len(self._low)), self._low), self._high)
        if (action != requested).any():
            self.report.count("position")
        target, reason = self._limits.next(action[: self._joints].astype(float))
        if reason:
            self.report.count(reason)
        return self._send(self._clear(target, upcoming), float(action[-1]))

    def _fault(self, observation: Observation, requested: np.ndarray) -> str:
        joints = slice(0, self._joints)
        if not np.isfinite(requested).all():
            return "not finite"
        if not np.isfinite(observation.state).all():
            return "state not finite"
        if not observation.age_s <= self._max_age_s:  # an age that is no number is stale too
            return "stale observation"
        if np.abs(requested[joints] - observation.state[joints]).max() > self._robot.max_step_rad:
            return "jump of the target"
        return self._disagreement(observation.state[joints])

    def _disagreement(self, measured: np.ndarray) -> str:
        """Return why the measured joints disagree with all that was commanded while the news may have been
        under way."""
        beyond = np.maximum(measured - self._lately.max(axis=0), self._lately.min(axis=0) - measured).max()
        if beyond > self._robot.max_step_rad:
            return "jump of the measurement"
        return "the arm does not follow" if beyond > DISAGREEMENT_RAD else ""

    def _clear(self, target: np.ndarray, upcoming: np.ndarray | None) -> np.ndarray:
        """Return `target` (joints,), or one on the way to rest where `target` would lead too near to something.

        What was sent last could be stopped from in the free; therefore the way to rest is free.
        """
        if self._clearance is None:
            return target
        why = self._blocked(target, upcoming)
        if not why:
            return target
        braking = self._limits.braking()
        slowed = (target + braking) / 2  # allowed, because the allowed targets are a box
        if not self._blocked(slowed, None):
            self.report.count(f"slowed: {why}")
            return slowed
        self.report.count(f"stopped: {why}")
        return braking

    def _blocked(self, target: np.ndarray, upcoming: np.ndarray | None) -> str:
        """Return what is in the way to `target` (joints,), on the stopping ways from there and on the rest of the
        chunk."""
        assert self._clearance is not None
        here, step = self._limits.position, target - self._limits.position
        ways = [np.stack([here, target]), *stopping_ways(self._robot, target, step)]
        if upcoming is not None and len(upcoming) and np.isfinite(upcoming).all():
            ahead = np.clip(upcoming, self._low, self._high)[:, : self._joints]
            ways.append(np.vstack([target, ahead]))
        return self._clearance.blocked(ways)

    def _send(self, joints: np.ndarray, opening: float) -> np.ndarray:
        sent = np.array([*joints, opening], np.float32)
        self._sent = sent = np.minimum(np.maximum(sent, self._low), self._high)
        self._limits.commit(sent[: self._joints])
        self._lately[self._periods % len(self._lately)] = sent[: self._joints]
        self._periods += 1
        return sent.copy()
