"""What tests of a task share: a world of it, its layouts, and an episode that its expert plays."""

from collections.abc import Mapping

import numpy as np

from sim.envs.sim_env import SimEnv
from sim.envs.simulation import Simulation, SimulationConfig
from sim.episode.loop import EpisodeResult, run_episode
from sim.expert.imperfections import QualityConfig
from sim.expert.scripted import Expert
from sim.guard.clearance import guarded
from sim.planning.kinematics import tool_down
from sim.randomize.ranges import nominal
from sim.tasks.base import TASKS


def nominal_world(task: str, seed: int) -> Simulation:
    """The episode of `seed` with nothing varied but the layout."""
    world = Simulation(SimulationConfig(task=task, randomize=nominal()))
    world.reset(seed)
    return world


def layouts(task: str, number: int = 200) -> list[Mapping]:
    """The layouts of the first seeds."""
    return [TASKS.get(task).draw_layout(np.random.default_rng(seed), nominal()).to_record() for seed in range(number)]


def put_tool(world: Simulation, pos_w, yaw_rad: float = 0.0, opening: float = 1.0) -> None:
    """The arm with its tool point at `pos_w`, at rest there."""
    joints = world.kinematics.inverse(pos_w, tool_down(yaw_rad), np.array(world.robot.home_rad))
    assert joints is not None
    world.data.qpos[world.scene.arm_qpos] = joints
    world.data.qpos[world.scene.finger_qpos] = opening * world.scene.finger_travel_m
    world.data.qvel[:] = 0.0
    world.command(joints, opening)


def expert_episode(task: str, seed: int) -> EpisodeResult:
    """One episode of the expert under the default randomization."""
    env = SimEnv(SimulationConfig(task=task))
    return run_episode(
        env, Expert(env, QualityConfig(perturbation_prob=1.0, near_miss_prob=0.4)), guarded(env.robot), seed
    )
