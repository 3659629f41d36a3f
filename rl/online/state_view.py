"""The task `reach` for learners without images: a gymnasium environment with a state vector and a shaped reward.

Servo, delays, randomization and seeds are those of the environment that policies are evaluated in.
"""

import gymnasium
import numpy as np

from sim.envs.sim_env import SimEnv
from sim.envs.simulation import SimulationConfig

MAX_DELTA_RAD = 0.05  # per policy period: 1 rad/s of the 1.22 that a policy is allowed
AIM_M = 0.03  # above the plate's middle, where the shaped reward leads the tool point
NEAR, AHEAD = 4.0, 10.0  # scale offsets (m) and lags (rad) to about 1
PROGRESS, STEP, REACHED = 10.0, -0.02, 3.0  # reward per metre nearer, per period, on success


class ReachState(gymnasium.Env):
    """Observation (16,) float32: joints from home, rad; gripper opening; the named plate from the tool point, in the
    tool frame, m times NEAR; how far the command is ahead of the joints, rad times AHEAD.
    Action (6,) in -1..1: added to the joint targets, times MAX_DELTA_RAD. The gripper stays as it is."""

    def __init__(self, config: SimulationConfig):
        self._env = SimEnv(config)
        self._robot = self._env.robot
        n = self._robot.joints
        self.observation_space = gymnasium.spaces.Box(-20.0, 20.0, (2 * n + 4,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (n,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """Begin the episode of `seed`; None: of a random one."""
        super().reset(seed=seed)
        self._env.reset(int(self.np_random.integers(2**31)) if seed is None else seed)
        state = self._env.observe().state
        self._target, self._opening = state[:-1].copy(), state[-1]
        self._distance_m = self._distance_to_aim_m()
        return self._observation(), {"instruction": self._env.world.instruction}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Play one policy period."""
        robot = self._robot
        moved = self._target + MAX_DELTA_RAD * np.clip(action, -1.0, 1.0)
        self._target = np.clip(moved, robot.position_min_rad, robot.position_max_rad).astype(np.float32)
        feedback = self._env.apply(np.array([*self._target, self._opening], np.float32))
        before_m, self._distance_m = self._distance_m, self._distance_to_aim_m()
        reward = PROGRESS * (before_m - self._distance_m) + STEP + REACHED * feedback.success
        return self._observation(), reward, feedback.terminated, feedback.truncated, {"is_success": feedback.success}

    def _distance_to_aim_m(self) -> float:
        """Return the distance of the tool point from where the reward leads it."""
        truth = self._env.ground_truth()
        offset = truth["grounding.target_pos_w"] - truth["grounding.object_pos_w"]  # in `reach` the tool point itself
        return float(np.linalg.norm(offset + [0.0, 0.0, AIM_M]))

    def _observation(self) -> np.ndarray:
        state = self._env.observe().state
        near, ahead = NEAR * self._env.ground_truth()["grounding.target_pos_t"], AHEAD * (self._target - state[:-1])
        return np.concatenate([state[:-1] - self._robot.home_rad, state[-1:], near, ahead]).astype(np.float32)

    def close(self) -> None:
        self._env.close()
