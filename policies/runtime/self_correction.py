"""A policy that watches itself: where its value says that the episode goes wrong, it retreats and begins again.

At the first alarm of an episode the gripper lets go, the arm rises, and the policy looks again and acts on with other
noise. At the next one it asks for help, and acts on. Each alarm names in words the sub-task that is taken to have
failed. It needs observations alone: simulation and arm are alike.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from policies.models.watch import Forecast, Watch, load_watch
from policies.runtime.agent import PolicyAgent, load_decider, only_task
from policies.runtime.chunk_agent import Timing
from policies.runtime.decider import Decider, GroundTruth
from policies.runtime.retreat import Retreat
from policies.runtime.subtask import WHOLE, FingerBelief
from sim.core.console import event
from sim.core.contract import Observation
from sim.robots.robot import RobotConfig

RETREAT, HELP = "retreat", "help"
RESPONSES = {RETREAT: "retreating", HELP: "asking for help"}
AGAIN = 2**48  # between the noise of an episode's attempts

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SelfAlarm:
    """One alarm."""

    time_s: float  # since the episode began
    forecast: float  # in time limits
    subtask: str  # that is taken to have failed
    response: str  # RETREAT or HELP


class SelfCorrectingAgent(PolicyAgent):
    """Satisfies `sim.episode.loop.Agent`. alarms: those of the episode."""

    def __init__(self, decider: Decider, timing: Timing, task: str, watch: Watch):
        """decider: with the same watch."""
        super().__init__(decider, timing, task)
        self.alarms: list[SelfAlarm] = []
        self._alarm = watch.alarm
        self._forecast = Forecast(self._alarm.limit_steps, self._alarm.steps_per_unit)
        self._robot = RobotConfig(self.spec.robot, round(self.spec.control_hz)).load()
        self._fingers = FingerBelief(self._robot.control_hz)

    # ---- sim.episode.loop.Agent ------------------------------------------------------------------

    def reset(self, observation: Observation, seed: int) -> None:
        self.alarms, self._begun_s = [], observation.stamp_s
        super().reset(observation, seed)

    def restart(self, observation: Observation, seed: int) -> None:
        self._opening, self._seed, self._answer = float(observation.state[-1]), seed, ""
        self._executed = [observation.state] * 2
        self._begin_attempt(observation, seed)

    def act(self, observation: Observation) -> np.ndarray:
        if self._retreat and self._retreat.done:
            self._begin_attempt(observation, self._seed + AGAIN)
        if self._retreat is None:
            action = super().act(observation)
            self._attempt_steps += 1
            if not self._responds(observation):
                return action
        assert self._retreat
        return self._retreat.act()

    def note_executed(self, action: np.ndarray) -> None:
        super().note_executed(action)
        self._executed = [self._executed[-1], action]

    @property
    def upcoming(self) -> np.ndarray:
        """(n, D) what is decided and not played yet; nothing while it retreats."""
        return super().upcoming if self._retreat is None else np.empty((0, self.chunks.action_dim), np.float32)

    # ---- parts -----------------------------------------------------------------------------------

    def _begin_attempt(self, observation: Observation, seed: int) -> None:
        super().restart(observation, seed)
        self._retreat: Retreat | None = None
        self._attempt_steps, self._latest = 0, 0.0
        self._forecast.reset()
        self._fingers.reset()

    def _decide(self, observation: Observation, commanded: np.ndarray, under_way: list[np.ndarray]) -> np.ndarray:
        chunk = super()._decide(observation, commanded, under_way)
        assert self.value is not None
        self._latest = self._forecast.add(self.value, self._attempt_steps)
        return chunk

    def _responds(self, observation: Observation) -> bool:
        """Raise the alarm where the forecast says so; return whether a retreat begins."""
        self._fingers.note(float(observation.state[-1]), float(self._executed[-1][-1]))
        if self._answer == HELP or self._latest >= self._alarm.threshold:
            return False
        self._answer = response = HELP if self._answer else RETREAT
        subtask = self._fingers.subtask if self._alarm.grasps else WHOLE
        time_s = observation.stamp_s - self._begun_s + 1 / self.chunks.control_hz
        alarm = SelfAlarm(round(time_s, 3), round(self._latest, 4), subtask, response)
        self.alarms.append(alarm)
        _log.info(
            "%.1f s: %r goes wrong at %s; %s", alarm.time_s, observation.instruction, subtask, RESPONSES[response],
            extra=event("self_correction", **vars(alarm)),
        )  # fmt: skip
        if response == HELP:
            return False
        before, last = self._executed
        step_rad = (last - before)[: self._robot.joints].astype(float)
        self._retreat = Retreat(self._robot, self._opening, last, step_rad)
        return True


def load_watching_agent(
    root: Path | str, indicator: str = "positive", guidance: float | None = None, timing: Timing | None = None,
    ground_truth: GroundTruth | None = None,
) -> SelfCorrectingAgent:  # fmt: skip
    """Return the agent of a checkpoint directory that has a watch, see `policies.runtime.agent.load_agent`.

    UserError as there, and where it has no watch.
    """
    watch = load_watch(root)
    decider, metadata = load_decider(root, indicator, guidance, ground_truth, watch)
    return SelfCorrectingAgent(decider, timing or Timing(), only_task(metadata), watch)
