"""Interventions in simulation: the policy acts until it fails, then the expert finishes the episode.

The analogue of human-gated DAgger: the triggers below use ground truth, as a person beside the robot
would use their eyes. Frames in which the expert acts are flagged `intervention`.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from sim.core.contract import Observation
from sim.core.options import PROBABILITY, Options, above, at_least, option
from sim.envs.sim_env import SimEnv
from sim.episode.loop import Agent
from sim.expert.scripted import Expert


@dataclass(frozen=True)
class TriggerConfig(Options):
    """When the expert intervenes."""

    late_share: float = option(0.6, "of the time limit, without success", PROBABILITY)
    stuck_s: float = option(2.5, "the arm moves less than stuck_rad for so long", above(0.0))
    stuck_rad: float = option(0.02, "of any joint", at_least(0.0))


class Trigger:
    """Watches one episode. `reason` is "" until a check fails."""

    def __init__(self, env: SimEnv, config: TriggerConfig = TriggerConfig()):
        self._env, self._config = env, config

    def reset(self) -> None:
        self._steps, self.reason = 0, ""
        self._last = deque(maxlen=round(self._config.stuck_s / self._env.robot.control_period_s) + 1)

    def check(self, requested: np.ndarray) -> str:
        """Return the reason to intervene before `requested` (D,) is executed, "" for none."""
        self._steps += 1
        self._last.append(self._env.world.state())
        checks = {"jump": self._jumps(requested), "late": self._is_late(), "stuck": self._is_stuck()}
        world = self._env.world
        failure = world.task.failure(world.scene_state)
        self.reason = next((reason for reason, found in checks.items() if found), failure)
        return self.reason

    def _jumps(self, requested: np.ndarray) -> bool:
        """The motion guard would latch on this action."""
        joints = slice(0, self._env.robot.joints)
        step = np.abs(requested - self._env.world.state())[joints].max()
        return not np.isfinite(requested).all() or bool(step > self._env.robot.max_step_rad)

    def _is_late(self) -> bool:
        return self._steps >= self._config.late_share * self._env.time_limit_steps

    def _is_stuck(self) -> bool:
        full = len(self._last) == self._last.maxlen
        return full and bool(np.ptp(np.array(self._last), axis=0).max() < self._config.stuck_rad)


class InterventionAgent:
    """A policy, and an expert that finishes the episode once the trigger fires. Satisfies `sim.episode.loop.Agent`."""

    def __init__(self, policy: Agent, expert: Expert, trigger: Trigger):
        self._policy, self._expert, self._trigger = policy, expert, trigger

    @property
    def reason(self) -> str:
        """Why the expert intervened; "" while it has not."""
        return self._trigger.reason if self._intervenes else ""

    @property
    def upcoming(self) -> np.ndarray | None:
        """What the policy will request next, for the guard to look ahead; None while the expert acts."""
        return None if self._intervenes else getattr(self._policy, "upcoming", None)

    def reset(self, observation: Observation, seed: int) -> None:
        self._seed, self._intervenes = seed, False
        self._policy.reset(observation, seed)
        self._trigger.reset()

    def act(self, observation: Observation) -> np.ndarray:
        if not self._intervenes:
            requested = self._policy.act(observation)
            if not self._trigger.check(requested):
                return requested
            self._intervenes = True
            self._expert.reset(observation, self._seed)
        return self._expert.act(observation)

    def note_executed(self, action: np.ndarray) -> None:
        """Let the policy take note of what the guard made of its action, where it does so."""
        note = getattr(self._policy, "note_executed", None)
        if note and not self._intervenes:
            note(action)

    def flags(self) -> dict[str, bool]:
        acting = self._expert if self._intervenes else self._policy
        return {**acting.flags(), "intervention": self._intervenes}
