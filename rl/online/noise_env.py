"""A frozen policy as a gymnasium environment in which an action is the noise that its next chunk is made of.

Servo, delays, guard, randomization and seeds are those that policies are evaluated with.

Shapes: F width of the policy's embedding, K steered directions.
"""

from collections.abc import Callable, Iterator

import gymnasium
import numpy as np
import torch

from policies.core.interface import Policy
from policies.models.noise_actor import NoiseActor
from policies.processing.observation import ObservationProcessor
from policies.runtime.episode_context import EpisodeContext
from sim.core.contract import Feedback
from sim.envs.sim_env import SimEnv
from sim.envs.simulation import SimulationConfig
from sim.episode.loop import EpisodeResult
from sim.guard.clearance import guarded


class NoiseEnv(gymnasium.Env):
    """Observation (F,): the embedding as `actor` sees it. Action (K,) in +-`actor.sizes.largest`. Reward: minus the
    chunks played; a failure costs all that would have fitted into the time limit."""

    def __init__(
        self, world: SimulationConfig, policy: Policy, actor: NoiseActor, seeds: Iterator[int],
        ended: Callable[[EpisodeResult], None],
    ):  # fmt: skip
        """seeds: of the episodes, in their order. ended: called with every episode that is over."""
        self._env, self._policy, self._actor = SimEnv(world), policy, actor
        self._guard, self._processor = guarded(self._env.robot), ObservationProcessor(policy)
        self._context = EpisodeContext(policy)
        self._seeds, self._ended = seeds, ended
        largest = actor.sizes.largest
        self.observation_space = gymnasium.spaces.Box(-8.0, 8.0, (actor.sizes.features,), np.float32)
        self.action_space = gymnasium.spaces.Box(-largest, largest, (actor.sizes.directions,), np.float32)

    @property
    def most_chunks(self) -> int:
        """Of an episode."""
        return -(-self._env.time_limit_steps // self._policy.config.execute)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """Begin the next episode."""
        super().reset(seed=seed)
        self._seed, self._steps = next(self._seeds), 0
        self._env.reset(self._seed)
        self._generator = torch.Generator().manual_seed(self._seed)
        self._seen = self._env.observe()
        self._commanded = self._seen.state
        self._context.begin()
        self._guard.reset(self._seen.state)
        return self._observation(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Play a chunk."""
        chunk = self._chunk(action)
        before, feedback, over = self._steps, Feedback(0.0, False, False, False), False
        for t, requested in enumerate(chunk):
            if over:
                break
            self._commanded = self._guard.check(self._seen, requested, chunk[t + 1 :])
            feedback = self._env.apply(self._commanded)
            self._seen, self._steps = self._env.observe(), self._steps + 1
            over = feedback.terminated or feedback.truncated or bool(self._guard.report.latched)
        charged, info = self._steps - before, {"is_success": feedback.success}
        if over:
            charged += (not feedback.success) * (self._env.time_limit_steps - self._steps)
            time_s = self._steps * self._env.robot.control_period_s
            self._ended(EpisodeResult(self._seed, feedback.success, self._steps, time_s, self._guard.report))
        # A time limit is a failure, not a view cut off: nothing comes after it.
        return self._observation(), -charged / self._policy.config.execute, over, False, info

    @torch.no_grad()
    def _chunk(self, action: np.ndarray) -> np.ndarray:
        """Return what is played of the chunk that the noise becomes."""
        noise = self._actor.noise(torch.from_numpy(action)[None], self._generator)
        return self._policy.steer(self._inputs, noise).chunk[0, : self._policy.config.execute].numpy()

    @torch.no_grad()
    def _observation(self) -> np.ndarray:
        truth = self._env.ground_truth() if self._policy.needs.ground_truth else None
        self._inputs = self._context.join(
            self._processor.observe(self._seen, truth, self._context.target, self._context.step)
        )
        if self._policy.given_steps:
            self._inputs.commanded = torch.from_numpy(np.asarray(self._commanded, np.float32))[None]
        return self._actor.scaled(self._policy.embedding(self._inputs))[0].numpy()

    def close(self) -> None:
        self._env.close()
