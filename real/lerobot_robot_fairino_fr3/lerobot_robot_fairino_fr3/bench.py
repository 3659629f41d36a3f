"""The simulated bench in the shape that LeRobot's evaluation expects; needs nothing of LeRobot."""

import gymnasium
import numpy as np

from sim.envs.sim_env import GymEnv, SimEnv
from sim.envs.simulation import SimulationConfig
from sim.robots.robot import RobotConfig
from sim.scene.build import RenderConfig

EVALUATION_SEED = 900_000  # the first one, see CONVENTIONS.md
PACKAGE = "lerobot_robot_fairino_fr3"


class LeRobotView(gymnasium.ObservationWrapper):
    """Observations {"pixels": {camera: uint8 (H, W, 3)}, "agent_pos": float64 (D,)}, and what LeRobot asks for."""

    def __init__(self, env: GymEnv, bench: SimEnv):
        super().__init__(env)
        self._bench = bench
        self.task = bench.world.config.task
        self._max_episode_steps = bench.time_limit_steps
        assert isinstance(env.observation_space, gymnasium.spaces.Dict)
        spaces = env.observation_space.spaces
        state = spaces["state"]
        assert isinstance(state, gymnasium.spaces.Box)
        pixels = {camera: spaces[camera] for camera in bench.robot.camera_names}
        self.observation_space = gymnasium.spaces.Dict(
            {
                "pixels": gymnasium.spaces.Dict(pixels),
                "agent_pos": gymnasium.spaces.Box(
                    state.low.astype(np.float64), state.high.astype(np.float64), dtype=np.float64
                ),
            }
        )

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        """Begin the episode of `seed`, counted from the evaluation's first one where it is smaller: LeRobot begins at
        1000, where demonstrations lie."""
        if seed is not None and seed < EVALUATION_SEED:
            seed += EVALUATION_SEED
        return super().reset(seed=seed, options=options)

    @property
    def task_description(self) -> str:
        """What the operator asks for in this episode."""
        return self._bench.world.instruction

    def observation(self, observation: dict) -> dict:
        pixels = {camera: observation[camera] for camera in self._bench.robot.camera_names}
        return {"pixels": pixels, "agent_pos": observation["state"].astype(np.float64)}


def make_bench(
    task: str = "pick_place", height: int = 96, width: int = 96, fps: int | None = None,
    render_mode: str | None = "rgb_array",
) -> LeRobotView:  # fmt: skip
    """Return the environment: entry point of the registered ids. fps: actions a second. UserError for an unknown task,
    size or rate."""
    render, robot = RenderConfig(height=height, width=width), RobotConfig(control_hz=fps)
    bench = SimEnv(SimulationConfig(task=task, render=render, robot=robot))
    return LeRobotView(GymEnv(bench, (height, width), render_mode), bench)
