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
    def labels(self) -> dict[str, np.ndarray]: ...
    def facts(self) -> dict: ...


class Agent(Protocol):
    """Anything that acts: a policy, the scripted expert, a person.

    One that plays chunks may also have `upcoming`: (n, D), what it will ask for after its last action.
    """

    def reset(self, observation: Observation, seed: int) -> None: ...
    def act(self, observation: Observation) -> np.ndarray: ...
    def flags(self) -> dict[str, bool]: ...


@dataclass(frozen=True)
class Step:
    """One policy period: what was seen, asked for, sent and came of it."""

    observation: Observation
    asked: np.ndarray  # (D,)
    sent: np.ndarray  # (D,) what the guard made of it
    feedback: Feedback
    flags: dict[str, bool]
    labels: dict[str, np.ndarray]


class Recorder(Protocol):
    """Takes every step of an episode."""

    def add(self, step: Step) -> None: ...


@dataclass(frozen=True)
class EpisodeResult:
    """How an episode ended. `steps` policy periods were played."""

    seed: int
    success: bool
    steps: int
    time_s: float
    guard: GuardReport = field(default_factory=GuardReport)


def run_episode(
    env: Env, agent: Agent, guard: MotionGuard, seed: int, recorder: Recorder | None = None
) -> EpisodeResult:
    """Play one episode to its end. The guard's verdict is what is sent and what is recorded."""
    env.reset(seed)
    observation = env.observe()
    agent.reset(observation, seed)
    guard.reset(observation.state)
    steps, feedback = 0, Feedback(0.0, False, False, False)
    while not (feedback.terminated or feedback.truncated or guard.report.latched):
        labels = env.labels() if recorder else {}
        asked = agent.act(observation)
        sent = guard.check(observation, asked, getattr(agent, "upcoming", None))
        flags = agent.flags()
        feedback = env.apply(sent)
        steps += 1
        if recorder:
            recorder.add(Step(observation, asked, sent, feedback, flags, labels))
        observation = env.observe()
    return EpisodeResult(seed, feedback.success, steps, steps * env.robot.control_period_s, guard.report)
