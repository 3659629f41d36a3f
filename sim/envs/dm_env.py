"""The dm_env view of any `sim.episode.loop.Env`, for those who come from dm_control or Acme."""

import dm_env
import numpy as np
from dm_env import specs

from sim.episode.loop import Env


class DmEnv(dm_env.Environment):
    """Observation: pictures, "state" and "instruction". Rewards as in CONVENTIONS.md.

    Episodes are those of the seeds `seed`, `seed` + 1 and so on. The discount is 0 where the task
    was done, 1 where the time ran out: a bootstrapping learner must tell the two apart.
    """

    def __init__(self, env: Env, image_size: tuple[int, int], seed: int = 0):
        """image_size: height and width of the pictures."""
        self._env, self._image_size, self._next_seed = env, image_size, seed
        self._over = True

    def reset(self) -> dm_env.TimeStep:
        self._env.reset(self._next_seed)
        self._next_seed += 1
        self._over = False
        return dm_env.restart(self._look())

    def step(self, action: np.ndarray) -> dm_env.TimeStep:
        if self._over:
            return self.reset()
        feedback = self._env.apply(action)
        self._over = feedback.terminated or feedback.truncated
        if feedback.terminated:
            return dm_env.termination(feedback.reward, self._look())
        if feedback.truncated:
            return dm_env.truncation(feedback.reward, self._look())
        return dm_env.transition(feedback.reward, self._look())

    def _look(self) -> dict:
        seen, robot = self._env.observe(), self._env.robot
        state = np.clip(seen.state, robot.state_min, robot.state_max)
        return {**dict(seen.images), "state": state, "instruction": np.array(seen.instruction, dtype=object)}

    def observation_spec(self) -> dict:
        robot = self._env.robot
        picture = {c: specs.BoundedArray((*self._image_size, 3), np.uint8, 0, 255, c) for c in robot.camera_names}
        state = specs.BoundedArray((robot.action_dim,), np.float32, robot.state_min, robot.state_max, "state")
        return {**picture, "state": state, "instruction": specs.StringArray((), name="instruction")}

    def action_spec(self) -> specs.BoundedArray:
        robot = self._env.robot
        return specs.BoundedArray((robot.action_dim,), np.float32, robot.action_min, robot.action_max, "action")
