"""Recording of the robot's episodes: the simulator's columns and the delays of every period.

An episode is recorded whatever ended it: a fault, a signal or an exception of the policy.
"""

import dataclasses

import numpy as np

from real.workcell.env import RobotEnv
from sim.dataset.reader import Column, Episode, Features
from sim.dataset.recorder import EpisodeRecorder, features
from sim.episode.loop import EpisodeResult, Step
from sim.guard.motion_guard import GuardReport
from sim.robots.robot import Robot

DELAYS = (
    "delay.observation_s",  # age of the oldest of images and state when the agent was called
    "delay.decision_s",  # from then to the motion guard's result
    "delay.send_s",  # from then until the first ServoJ towards it was sent, a pause for the gripper included; nan while
    # guided by hand and where the arm had been stopped
)


def robot_features(robot: Robot, image_size: tuple[int, int], *, depth: bool = False) -> Features:
    """Return the columns of every frame of the robot. image_size: (height, width). depth: of every camera too."""
    common = features(robot, image_size, depth=depth)
    return dataclasses.replace(common, columns={**common.columns, **{name: Column("float32") for name in DELAYS}})


class RobotRecorder(EpisodeRecorder):
    """The steps of one episode on the robot; satisfies `sim.episode.loop.Recorder`."""

    def __init__(self, env: RobotEnv):
        super().__init__(env.robot)
        self._env = env
        self._guided: list[bool] = []

    @property
    def steps(self) -> int:
        return len(self._rows)

    def add(self, step: Step) -> None:
        super().add(step)
        delays = (step.observation.age_s, self._env.decision_s, self._env.send_delay_s)
        self._rows[-1].update(zip(DELAYS, map(np.float32, delays), strict=True))
        self._guided.append(self._env.guiding.active)

    def interrupted(self, seed: int, report: GuardReport) -> EpisodeResult:
        """Return the result of an episode that was ended by an exception."""
        time_s = self.steps * self._env.robot.control_period_s
        return EpisodeResult(seed, success=False, steps=self.steps, time_s=time_s, guard=report)

    def episode(self, result: EpisodeResult, source: str, metadata: dict) -> Episode:
        """Return the finished episode. While the arm was guided by hand, the action is its next position."""
        for row, after, guided in zip(self._rows, self._rows[1:], self._guided, strict=False):
            if guided:
                row["action"] = np.array([*after["observation.state"][:-1], row["action"][-1]], np.float32)
        return super().episode(result, source, metadata)
