"""The task `reach` for learners that see no pictures: a gymnasium view with a vector to look at and a shaped reward.

Everything else is the environment that policies are evaluated in: servo, delays, randomization, seeds.
"""

import gymnasium
import numpy as np

from sim.envs.sim_env import SimEnv
from sim.envs.simulation import SimulationConfig

MAX_DELTA_RAD = 0.05  # a policy period at most: 1 rad/s of the 1.22 that a policy is allowed
AIM_M = 0.03  # above the plate's middle: what the reward draws the tool point to
NEAR, AHEAD = 4.0, 10.0  # bring offsets (m) and lags (rad) to about 1
PROGRESS, STEP, REACHED = 10.0, -0.02, 3.0  # reward a metre nearer, a period, on success


class ReachState(gymnasium.Env):
    """Observation (16,) float32: joints from home, rad; gripper opening; the named plate from the tool point, in the
    tool frame, m times NEAR; how far the command is ahead of the joints, rad times AHEAD.
    Action (6,) in -1..1: what is added to the joint targets, times MAX_DELTA_RAD. The hand stays as it is."""

    def __init__(self, config: SimulationConfig):
        self._env = SimEnv(config)
        self._robot = self._env.robot
        n = self._robot.joints
        self.observation_space = gymnasium.spaces.Box(-20.0, 20.0, (2 * n + 4,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (n,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """Begin the episode of `seed`, or of one drawn."""
        super().reset(seed=seed)
        self._env.reset(int(self.np_random.integers(2**31)) if seed is None else seed)
        state = self._env.observe().state
        self._target, self._opening = state[:-1].copy(), state[-1]
        self._distance_m = self._measure_m()
        return self._look(), {"instruction": self._env.world.instruction}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """One policy period."""
        robot = self._robot
        moved = self._target + MAX_DELTA_RAD * np.clip(action, -1.0, 1.0)
        self._target = np.clip(moved, robot.position_min_rad, robot.position_max_rad).astype(np.float32)
        feedback = self._env.apply(np.array([*self._target, self._opening], np.float32))
        before_m, self._distance_m = self._distance_m, self._measure_m()
        reward = PROGRESS * (before_m - self._distance_m) + STEP + REACHED * feedback.success
        return self._look(), reward, feedback.terminated, feedback.truncated, {"is_success": feedback.success}

    def _measure_m(self) -> float:
        """From the tool point to where it is drawn to."""
        labels = self._env.labels()
        offset = labels["grounding.target_pos_w"] - labels["grounding.object_pos_w"]  # in `reach` the tool point itself
        return float(np.linalg.norm(offset + [0.0, 0.0, AIM_M]))

    def _look(self) -> np.ndarray:
        state = self._env.observe().state
        near, ahead = NEAR * self._env.labels()["grounding.target_pos_t"], AHEAD * (self._target - state[:-1])
        return np.concatenate([state[:-1] - self._robot.home_rad, state[-1:], near, ahead]).astype(np.float32)

    def close(self) -> None:
        self._env.close()
