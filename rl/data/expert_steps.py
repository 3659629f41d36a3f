"""How many policy steps the clean expert still needs from recorded frames: the oracle's time to go.

An episode is rebuilt in the simulator from what was drawn for it and the actions sent; in every `STRIDE`-th frame the
expert plans from the true state, and the plan's duration is taken, not played:

    time of a waypoint = the longest of the joints' rest-to-rest times at the expert's speed and acceleration

Departures from playing the plan: waypoints that the arm only passes are left out, or the time to go would jump where a
fresh plan begins by lifting what is already over its place; so is the retreat after the last release, as the episode
ends before it. A grip takes GRIP_S.

Shapes: T frames of an episode, J joints.
"""

import functools
from collections.abc import Sequence

import numpy as np

from sim.core.console import track
from sim.core.structured import typed
from sim.dataset.reader import Dataset
from sim.envs.sim_env import SimEnv
from sim.envs.simulation import SimulationConfig
from sim.parallel.workers import WorkerConfig, map_seeds
from sim.planning.motion_planner import MotionPlanner, MotionStyle, Waypoint
from sim.randomize.episode_params import EpisodeParams
from sim.replay import drawn_record

STRIDE = 8  # frames between two plans; between them the time to go is interpolated
GRIP_S = 0.4
STYLE = MotionStyle(
    speed=0.95, accel_rad_s2=5.0, hover_m=0.07, carry_m=0.08, grasp_height_m=0.0, release_gap_m=0.005, blend_rad=0.05,
    other_yaw=False, other_way=False, place_offset_m=np.zeros(2), detour_m=np.zeros(3),
)  # fmt: skip


class ExpertStepsWorker:
    """Rebuilds an episode of a dataset; returns the expert's steps to go (T,) in policy steps."""

    def __init__(self, root: str):
        self._dataset = Dataset(root)
        self._env = SimEnv(typed(SimulationConfig, self._dataset.provenance["world"], "world."))

    def __call__(self, episode: int) -> np.ndarray:
        env, actions = self._env, self._dataset.columns(episode, ["action"])["action"]
        env.rebuild(EpisodeParams.from_record(drawn_record(self._dataset, episode), env.world.task.layout_type))
        planned = []
        for t, action in enumerate(actions):
            if t % STRIDE == 0:
                planned.append(plan_s(env) / env.robot.control_period_s)
            env.apply(action)
        return np.interp(np.arange(len(actions)), np.arange(0, len(actions), STRIDE), planned)


def expert_steps(dataset: Dataset, workers: WorkerConfig) -> np.ndarray:
    """Return the steps to go of all frames, episode after episode. UserError for one that was not simulated."""
    episodes = range(dataset.num_episodes)
    for episode in episodes:
        drawn_record(dataset, episode)
    played = map_seeds(functools.partial(ExpertStepsWorker, str(dataset.root)), episodes, workers)
    return np.concatenate(list(track(played, f"true time to go, {dataset.root.name}", total=len(episodes))))


def plan_s(env: SimEnv) -> float:
    """Return the duration of the expert's plan from the present state."""
    planner = MotionPlanner(env.world.scene_state, env.world.kinematics, STYLE)
    joints = env.world.joints_rad()
    planner.begin(joints, float(env.world.state()[-1]))
    env.world.task.plan(planner)
    waypoints = [one for one in planner.waypoints if one.grips or not (one.blend_rad or one.name == "retreat")]
    return duration_s(joints, waypoints, env.robot.policy_speed_rad_s)


def duration_s(joints_rad: np.ndarray, waypoints: Sequence[Waypoint], speed_rad_s: float) -> float:
    """Return how long the waypoints take from these joints (J,). speed_rad_s: of a policy, at most."""
    total_s = 0.0
    for one in waypoints:
        if one.grips:
            total_s += GRIP_S
        else:
            speed = STYLE.speed * one.speed * speed_rad_s
            total_s += rest_to_rest_s(float(np.abs(one.joints_rad - joints_rad).max()), speed, STYLE.accel_rad_s2)
        joints_rad = one.joints_rad
    return total_s


def rest_to_rest_s(distance: float, speed: float, accel: float) -> float:
    """Return the time of a trapezoidal profile, a triangular one where the speed is not reached."""
    if distance > speed**2 / accel:
        return distance / speed + speed / accel
    return 2 * (distance / accel) ** 0.5
