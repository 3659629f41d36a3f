"""The one loop that runs an episode: simulation, evaluation, RECAP and the robot."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from sim.core.contract import Feedback, Observation
from sim.guard.motion_guard import GuardReport, MotionGuard
from sim.robots.robot import Robot


class Env(Protocol):
    """A world with one arm. `apply` returns no observation: looking is a separate, dearer act."""

    robot: Robot

    def reset(self, seed: int) -> None: ...
    def observe(self) -> Observation: ...
    def apply(self, action: np.ndarray) -> Feedback: ...
    def ground_truth(self) -> dict[str, np.ndarray]: ...
    def metadata(self) -> dict: ...


class Agent(Protocol):
    """Anything that acts: a policy, the scripted expert, a person.

    One that plays chunks may also have `upcoming`: (n, D), the actions that it will request next, and
    `note_executed(action)`, called with what the guard made of each. One that gives up says why in `stopped`, "" until
    then: the episode ends.
    """

    def reset(self, observation: Observation, seed: int) -> None: ...
    def act(self, observation: Observation) -> np.ndarray: ...
    def flags(self) -> dict[str, bool]: ...


@dataclass(frozen=True)
class Step:
    """One policy period: what was observed, requested and executed, and what came of it."""

    observation: Observation
    requested: np.ndarray  # (D,) action of the agent
    executed: np.ndarray  # (D,) what the guard made of it
    feedback: Feedback
    flags: dict[str, bool]
    ground_truth: dict[str, np.ndarray]


class Recorder(Protocol):
    """Takes every step of an episode."""

    def add(self, step: Step) -> None: ...


class RecorderGroup:
    """Several recorders as one."""

    def __init__(self, *recorders: Recorder):
        self._recorders = recorders

    def add(self, step: Step) -> None:
        for recorder in self._recorders:
            recorder.add(step)


@dataclass(frozen=True)
class EpisodeResult:
    """How an episode ended. `steps` policy periods were played."""

    seed: int
    success: bool
    steps: int
    time_s: float
    guard: GuardReport = field(default_factory=GuardReport)
    stopped: str = ""  # why the agent gave up


def run_episode(
    env: Env, agent: Agent, guard: MotionGuard, seed: int, recorder: Recorder | None = None
) -> EpisodeResult:
    """Play one episode to its end. What the guard makes of an action is executed and recorded."""
    env.reset(seed)
    observation = env.observe()
    agent.reset(observation, seed)
    guard.reset(observation.state)
    steps, feedback = 0, Feedback(0.0, False, False, False)
    while not (feedback.terminated or feedback.truncated or guard.report.latched or getattr(agent, "stopped", "")):
        ground_truth = env.ground_truth() if recorder else {}
        requested = agent.act(observation)
        observation = getattr(agent, "looked_anew", None) or observation
        executed = guard.check(observation, requested, getattr(agent, "upcoming", None))
        if note := getattr(agent, "note_executed", None):
            note(executed)
        flags = agent.flags()
        feedback = env.apply(executed)
        steps += 1
        if recorder:
            recorder.add(Step(observation, requested, executed, feedback, flags, ground_truth))
        observation = env.observe()
    stopped = "" if feedback.success else getattr(agent, "stopped", "")
    return EpisodeResult(seed, feedback.success, steps, steps * env.robot.control_period_s, guard.report, stopped)
