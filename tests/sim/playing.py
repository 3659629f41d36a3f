"""What several tests play: small pictures, the expert, what the servo commanded."""

import mujoco
import numpy as np

from sim.envs.sim_env import SimEnv
from sim.envs.simulation import Simulation, SimulationConfig
from sim.episode.loop import EpisodeResult, run_episode
from sim.expert.imperfections import QualityConfig
from sim.expert.scripted import Expert
from sim.guard.clearance import guarded
from sim.planning.kinematics import tool_down
from sim.randomize.ranges import nominal
from sim.scene.build import RenderConfig

SMALL = RenderConfig(height=48, width=64)
PUSHED = QualityConfig(perturbation_prob=1.0, near_miss_prob=0.4)


def calm(**changes) -> SimulationConfig:
    """A world in which nothing varies but the layout; `changes` are ranges."""
    ranges = vars(nominal()) | changes
    return SimulationConfig(randomize=type(nominal())(**ranges), render=SMALL)


def play_expert(env: SimEnv, seed: int, recorder=None, quality: QualityConfig = QualityConfig()) -> EpisodeResult:
    return run_episode(env, Expert(env, quality), guarded(env.robot), seed, recorder)


def put_tool(world: Simulation, tool_pos_w: np.ndarray, yaw_rad: float, finger_m: float) -> None:
    """Pose the arm, its tool downwards, each finger so far from the middle."""
    joints = world.kinematics.inverse(tool_pos_w, tool_down(yaw_rad), world.joints_rad())
    assert joints is not None
    world.data.qpos[world.scene.arm_qpos] = joints
    world.data.qpos[world.scene.finger_qpos] = finger_m
    mujoco.mj_forward(world.scene.model, world.data)


class CommandLog:
    """Every joint command at 125 Hz, put between a `SimEnv` and its world."""

    def __init__(self, env: SimEnv):
        self._controls = env.world.controls
        env.world.controls = self
        self.rows: list[np.ndarray] = []

    def __call__(self, joints_rad: np.ndarray, opening: np.ndarray | float) -> np.ndarray:
        self.rows.extend(np.array(np.atleast_2d(joints_rad)))
        return self._controls(joints_rad, opening)

    def take(self) -> np.ndarray:
        """(ticks, joints) since the last call, rad."""
        rows, self.rows = np.array(self.rows), []
        return rows
