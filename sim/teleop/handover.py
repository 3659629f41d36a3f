"""A policy and a person who takes over and hands back: the corrections of human-gated DAgger.

Frames under the person's hand are flagged `intervention`, as RECAP's pool expects. Handing back, the
policy begins anew from what it sees now: no action planned before the takeover is played.
"""

import numpy as np

from sim.core.contract import Feedback, Observation
from sim.episode.loop import Agent, Env
from sim.teleop.corrector import Corrector
from sim.teleop.device import Command
from sim.teleop.operator import Operator


class HandoverAgent:
    """Satisfies `sim.episode.loop.Agent`. `reason` says who took over in this episode, "" while nobody did."""

    def __init__(self, policy: Agent, corrector: Corrector, operator: Operator):
        self._policy, self._corrector, self._operator = policy, corrector, operator
        self._corrects, self.reason = False, ""

    @property
    def corrects(self) -> bool:
        """Whether the person acts now."""
        return self._corrects

    @property
    def upcoming(self) -> np.ndarray | None:
        """(n, D) what the policy will ask for next; nobody knows what a person will."""
        return None if self._corrects else getattr(self._policy, "upcoming", None)

    def reset(self, observation: Observation, seed: int) -> None:
        self._leave()
        self._operator.forget()
        self._seed, self.reason = seed, ""
        self._policy.reset(observation, seed)

    def act(self, observation: Observation) -> np.ndarray:
        for command in self._operator.take(Command.TAKE_OVER, Command.HAND_BACK, Command.TURN):
            if command is not Command.HAND_BACK and not self._corrects:
                self._corrects, self.reason = True, self._corrector.reason
                self._corrector.begin(observation)
            elif command is not Command.TAKE_OVER and self._corrects:
                self._leave()
                self._policy.reset(observation, self._seed)
        return (self._corrector if self._corrects else self._policy).act(observation)

    def flags(self) -> dict[str, bool]:
        return {"intervention": True} if self._corrects else {**self._policy.flags(), "intervention": False}

    def _leave(self) -> None:
        if self._corrects:
            self._corrects = False
            self._corrector.end()


class AttendedEnv:
    """Any environment with a person beside it, who ends the episode by SUCCESS or FAILURE.

    Satisfies `sim.episode.loop.Env`.
    """

    def __init__(self, env: Env, operator: Operator):
        self._env, self._operator = env, operator
        self.robot = env.robot
        self._verdict = ""

    def reset(self, seed: int) -> None:
        self._verdict = ""
        self._env.reset(seed)
        self._operator.take(Command.SUCCESS, Command.FAILURE)

    def observe(self) -> Observation:
        return self._env.observe()

    def apply(self, action: np.ndarray) -> Feedback:
        feedback = self._env.apply(action)
        for command in self._operator.take(Command.SUCCESS, Command.FAILURE)[:1]:
            self._verdict = command.value
            success = command is Command.SUCCESS
            return Feedback(0.0 if success else -1.0, terminated=success, truncated=not success, success=success)
        return feedback

    def ground_truth(self) -> dict[str, np.ndarray]:
        return self._env.ground_truth()

    def metadata(self) -> dict:
        """The environment's, and what the person said, "" where nobody did."""
        return {**self._env.metadata(), "operator/verdict": self._verdict}
