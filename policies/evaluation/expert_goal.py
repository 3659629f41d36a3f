"""A picture of an episode's goal: what the expert's own episode of the same scene ends with.

It is what training shows as the goal, the last image of a demonstration.
"""

import functools

import numpy as np

from sim.core.contract import Observation
from sim.envs.sim_env import SimEnv
from sim.envs.simulation import SimulationConfig
from sim.episode.loop import Step, run_episode
from sim.expert.scripted import Expert
from sim.guard.clearance import guarded


class LastLook:
    """Keeps the newest observation; satisfies `sim.episode.loop.Recorder`."""

    seen: Observation

    def add(self, step: Step) -> None:
        self.seen = step.observation


class ExpertGoal:
    """Draws goals in a world of its own, which is opened when the first is asked for."""

    def __init__(self, config: SimulationConfig):
        self._config = config

    @functools.cached_property
    def _env(self) -> SimEnv:
        return SimEnv(self._config)

    def __call__(self, seed: int) -> np.ndarray:
        """Return the first camera's last image uint8 (H, W, 3) of the expert's episode of this seed."""
        last = LastLook()
        run_episode(self._env, Expert(self._env), guarded(self._env.robot), seed, last)
        return last.seen.images[self._env.robot.camera_names[0]]
