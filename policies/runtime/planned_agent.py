"""Plays an instruction of several steps: a policy is told one step at a time, until that one is judged done.

A step is done when the value of a watch says that little is left to do, where one is kept, else when what the policy
sees looks like it. One look is enough: a policy whose demonstrations end with success soon grasps again. Between two
steps the gripper lets go and the arm returns to where it began, from where policies are trained to begin. A step that
is not done in its task's time ends the episode. It needs observations alone: simulation and arm are alike.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from policies.core.planner import PlannedStep, Planner, PlannerConfig
from policies.runtime.agent import PolicyAgent
from policies.runtime.chunk_agent import ChunkAgent
from policies.runtime.decider import GroundTruth
from policies.runtime.retreat import Retreat
from sim.control.dh import frames
from sim.core.console import event
from sim.core.contract import GROUNDING_COLUMNS, Observation
from sim.core.errors import UserError
from sim.robots.robot import RobotConfig
from sim.tasks.seen import Seen

LOST_M = 0.1  # a thing whose place is less sure was not found
UNSEEN = 0.1  # how likely a policy does something with what it does not see, or what takes more than its time
SOON = 0.05  # of the time limit: so little is left to do when the value says that a step is done
AGAIN = 2**40  # between the noise of an episode's steps
Begin = Callable[[Observation, int], None]  # of the agent that plays the steps

_log = logging.getLogger(__name__)


class PlannedAgent:
    """Satisfies `sim.episode.loop.Agent`. Everything else is asked of the agent that plays the steps.

    told: the step under way, "" before an episode. done: sentences of those that were judged done. stopped: why the
    episode is over, "" while it is not.
    """

    def __init__(self, inner: PolicyAgent, planner: Planner, truth: GroundTruth | None = None):
        """truth: of the step that is told, in simulation, for a policy that acts on it.

        UserError where no step could be judged done.
        """
        self.inner, self._planner = inner, planner
        self._truth = truth if inner.policy.needs.ground_truth else None
        if not (inner.decider.watch or self._truth or inner.policy.plays_steps):
            raise UserError("planner: this policy neither finds points nor has a watch, so no step can be judged done")
        self._robot = RobotConfig(inner.spec.robot, round(inner.spec.control_hz)).load()
        self.told, self.stopped = "", ""
        self.done: list[str] = []
        self._step: PlannedStep | None = None

    def __getattr__(self, name: str) -> Any:
        if name == "inner":  # not set yet
            raise AttributeError(name)
        return getattr(self.inner, name)

    @property
    def task(self) -> str:
        """Any: a plan's steps may be of several."""
        return ""

    @property
    def subtasks(self) -> list[str]:
        """The steps that were told in the episode, in order; the last is under way."""
        return [*self.done, self.told] if self._step else self.done

    def check(self, instruction: str) -> None:
        """UserError where an instruction cannot be taken apart."""
        self._planner.check(instruction)

    # ---- sim.episode.loop.Agent ------------------------------------------------------------------

    def reset(self, observation: Observation, seed: int) -> None:
        self._begin_plan(observation, seed, self.inner.reset)

    def restart(self, observation: Observation, seed: int) -> None:
        """Begin the plan anew, as after a person acted: which of its steps are done is not known."""
        self._begin_plan(observation, seed, self.inner.restart)

    def _begin_plan(self, observation: Observation, seed: int, begin: Begin) -> None:
        self._start, self._seed = observation.state, seed
        self._executed = [observation.state] * 2
        self.done, self.stopped = [], ""
        self._retreat: Retreat | None = None
        self.check(observation.instruction)
        self._begin_step(observation, begin)

    def act(self, observation: Observation) -> np.ndarray:
        if self._retreat and self._retreat.done:
            self._retreat = None
            self._begin_step(observation, self.inner.restart)
        if self._retreat:
            return self._retreat.act()
        if self._step is None:
            return self._executed[-1]
        action = self.inner.act(replace(observation, instruction=self.told))
        self._steps += 1
        if self._is_done(self._step, observation):
            return self._end_step().act()
        if self._steps >= self._step.time_limit_s * self._robot.control_hz:
            self._stop(self._step)
        return action

    def note_executed(self, action: np.ndarray) -> None:
        if self.told:
            self.inner.note_executed(action)
        self._executed = [self._executed[-1], action]

    @property
    def upcoming(self) -> np.ndarray:
        """(n, D) what is decided and not played yet; nothing while the arm returns, or rests after the last step."""
        return self.inner.upcoming[: 0 if self._retreat or self._step is None else None]

    def flags(self) -> dict[str, bool]:
        return self.inner.flags()

    # ---- steps -----------------------------------------------------------------------------------

    def _begin_step(self, observation: Observation, begin: Begin) -> None:
        """Tell the policy the next step; after the last one the arm rests."""
        instruction = observation.instruction
        self._step = self._planner.next_step(instruction, self.done, lambda told: self._affordance(observation, told))
        if self._step is None:
            return
        self.told = self._step.sentence
        begin(replace(observation, instruction=self.told), self._seed + AGAIN * len(self.done))
        self._steps, self._looks = 0, len(self.inner.decision_s)  # after a decision that was under way was waited for
        _log.info("step %d: %s", len(self.done) + 1, self.told, extra=event("step", sentence=self.told))

    def _is_done(self, step: PlannedStep, observation: Observation) -> bool:
        """Return whether the step is judged done, once a look."""
        if len(self.inner.decision_s) == self._looks:
            return False
        self._looks = len(self.inner.decision_s)
        return self._seems_done(step, observation)

    def _end_step(self) -> Retreat:
        """Begin the way back, from the action executed last: the one just decided is not played."""
        self.done.append(self.told)
        before, last = self._executed
        n = self._robot.joints
        self._retreat = Retreat(
            self._robot, float(self._start[-1]), last, (last - before)[:n].astype(float), self._start[:n].astype(float)
        )
        return self._retreat

    def _stop(self, step: PlannedStep) -> None:
        self.stopped = f"step {len(self.done) + 1} is not done after {step.time_limit_s:g} s: {step.sentence}"
        _log.warning("%s", self.stopped, extra=event("step_failed", step=len(self.done) + 1, sentence=step.sentence))

    # ---- when a step is done ---------------------------------------------------------------------

    def _seems_done(self, step: PlannedStep, observation: Observation) -> bool:
        if watch := self.inner.decider.watch:
            return self.inner.value is not None and watch.alarm.in_limits(self.inner.value) >= -SOON
        places = self._places()
        if places is None or step.seems_done is None:
            return False
        return step.seems_done(Seen(*places, self._tool_w(observation), float(observation.state[-1])))

    def _affordance(self, observation: Observation, told: str) -> float:
        """Return how likely the policy does now what it would be told: by the value, else by whether it sees it."""
        if self._truth:
            return 1.0
        looked_at = ChunkAgent.looked_at(self.inner, replace(observation, instruction=told))  # by a look of its own
        decided = self.inner.decider.decide(looked_at, observation.state, [], torch.Generator().manual_seed(0))
        if decided.value is not None and (watch := self.inner.decider.watch):
            return max(1.0 + watch.alarm.in_limits(decided.value), UNSEEN)
        return 1.0 if all(one.within_m < LOST_M for one in decided.estimates) else UNSEEN

    def _places(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return where object and target of the step are, None where one is not found."""
        if self._truth:
            truth = self._truth()
            return truth[GROUNDING_COLUMNS[0]], truth[GROUNDING_COLUMNS[1]]
        found = {one.name: one for one in self.inner.estimates if one.within_m < LOST_M}
        return (found["object"].pos_w, found["target"].pos_w) if {"object", "target"} <= set(found) else None

    def _tool_w(self, observation: Observation) -> np.ndarray:
        """Return the tool point (3,) m in the base's frame."""
        robot = self._robot
        links = frames(robot.dh_m, observation.state[: robot.joints].astype(float), robot.mount)
        return (links[-1] @ [*robot.tcp_from_flange_m, 1.0])[:3]


def plan_with(config: PlannerConfig, agent: ChunkAgent, truth: GroundTruth | None = None) -> Any:
    """Return the agent itself where there is no planner, else one that plays its steps. UserError where none can be.

    truth: see `PlannedAgent`.
    """
    planner = config.build()
    if planner is None:
        return agent
    if not isinstance(agent, PolicyAgent):
        raise UserError(f"planner={config.name} needs a checkpoint: a server does not say what it sees")
    return PlannedAgent(agent, planner, truth)
