"""Operator interventions while a policy plays: human-gated DAgger (Kelly et al. 2019).

Frames in which the operator acts are flagged `intervention`, as RECAP's pool expects. After an intervention the policy
is reset to the present observation: no action that it planned before is executed.
"""

import numpy as np

from sim.core.contract import Feedback, Observation
from sim.episode.loop import Agent, Env
from sim.teleop.corrector import Corrector
from sim.teleop.device import Command
from sim.teleop.operator import Operator


class OperatorInterventionAgent:
    """A policy, replaced by a corrector on command. Satisfies `sim.episode.loop.Agent`.

    reason: what intervened in this episode, "" while nothing did. looked_anew: what the newest action was decided on,
    where that is another look than it was handed.
    """

    def __init__(self, policy: Agent, corrector: Corrector, operator: Operator):
        self._policy, self._corrector, self._operator = policy, corrector, operator
        self._intervening, self.reason = False, ""
        self.looked_anew: Observation | None = None

    @property
    def upcoming(self) -> np.ndarray | None:
        """(n, D) what the policy will request next; None during an intervention."""
        return None if self._intervening else getattr(self._policy, "upcoming", None)

    @property
    def stopped(self) -> str:
        """Why the policy gave up, "" while it did not, or a person acts."""
        return "" if self._intervening else getattr(self._policy, "stopped", "")

    def reset(self, observation: Observation, seed: int) -> None:
        self._end(observation)
        self._operator.forget()
        self._seed, self.reason = seed, ""
        self._policy.reset(observation, seed)

    def act(self, observation: Observation) -> np.ndarray:
        self.looked_anew = None
        for command in self._operator.take(Command.INTERVENE, Command.RESUME_POLICY, Command.TOGGLE):
            if command is not Command.RESUME_POLICY and not self._intervening:
                self._intervening, self.reason = True, self._corrector.reason
                self._corrector.begin(observation)
            elif command is not Command.INTERVENE and self._intervening:
                observation = self.looked_anew = self._end(observation)
                # A policy that keeps a record of the episode begins anew in it.
                getattr(self._policy, "restart", self._policy.reset)(observation, self._seed)
        return (self._corrector if self._intervening else self._policy).act(observation)

    def note_executed(self, action: np.ndarray) -> None:
        """Let the policy take note of what was executed, where it does so.

        Also of a person's actions: the policy goes on with the gripper as they commanded it.
        """
        if note := getattr(self._policy, "note_executed", None):
            note(action)

    def flags(self) -> dict[str, bool]:
        return {"intervention": True} if self._intervening else {**self._policy.flags(), "intervention": False}

    def _end(self, observation: Observation) -> Observation:
        """Return what the policy goes on from."""
        if not self._intervening:
            return observation
        self._intervening = False
        return self._corrector.end(observation)


class AttendedEnv:
    """Any environment whose episodes the operator may end by SUCCESS or FAILURE. Satisfies `sim.episode.loop.Env`."""

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
        """Return the environment's metadata and the operator's verdict, "" without one."""
        return {**self._env.metadata(), "operator/verdict": self._verdict}
