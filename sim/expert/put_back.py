"""The expert tidies up after an episode: what the task handles goes back to free places of the table."""

import numpy as np

from sim.envs.sim_env import SimEnv
from sim.expert.imperfections import CLEAN
from sim.expert.scripted import Expert
from sim.guard.motion_guard import MotionGuard
from sim.planning.motion_planner import ROOM_M, MotionPlanner
from sim.scene.placement import free_place, within_reach
from sim.scene.state import SceneState

LIMIT_S = 20.0  # for one object
NEAR_M = 0.03  # from its place
DRAWS = 500


def put_back(env: SimEnv, guard: MotionGuard, seed: int) -> tuple[int, str]:
    """Put everything that the task handles to drawn places; return the periods that took, and what went wrong, "" for
    nothing."""
    task, rng, periods = env.world.task, np.random.default_rng([seed, 2]), 0
    for i in task.handled_objects if task.max_objects else ():
        took, problem = _put_back(env, guard, i, rng)
        periods += took
        if problem:
            return periods, problem
    return periods, ""


def _put_back(env: SimEnv, guard: MotionGuard, i: int, rng: np.random.Generator) -> tuple[int, str]:
    state = env.world.scene_state
    if not within_reach(state.object_pos_w(i)[:2]) or state.object_pos_w(i)[2] < 0.0:
        return 0, "out of reach"
    place = draw_free_place(rng, state, i)
    if place is None:
        return 0, "no free place"

    def plan(planner: MotionPlanner) -> None:
        if not planner.holds(i):
            planner.pick(i)
        planner.place(i, np.array([*place, 0.0]))

    expert, observation = Expert(env, CLEAN, plan), env.observe()
    expert.reset(observation, int(rng.integers(2**31)))
    for period in range(round(LIMIT_S / env.robot.control_period_s)):
        if _stands_there(state, i, place):
            return period, ""
        env.apply(guard.check(observation, expert.act(observation)))
        if guard.report.latched:
            return period + 1, f"guard: {guard.report.latched}"
        observation = env.observe()
    return round(LIMIT_S / env.robot.control_period_s), "not put back"


def _stands_there(state: SceneState, i: int, place: np.ndarray) -> bool:
    """Return whether the object was let go at its place and the tool is above it."""
    is_near = np.linalg.norm(state.object_pos_w(i)[:2] - place) < NEAR_M
    rose = state.tool_pos_w[2] > state.object_pos_w(i)[2] + 0.06
    return bool(is_near and rose and state.opening > 0.9 and state.speed_m_s(i) < 0.05)


def draw_free_place(rng: np.random.Generator, state: SceneState, i: int) -> np.ndarray | None:
    """Draw (2,) m on the table within reach and ROOM_M from everything but object `i`; None where none was found."""
    scene, xpos = state.scene, state.data.xpos
    taken = np.concatenate([xpos[np.delete(scene.objects, i), :2], xpos[scene.targets, :2]])
    return free_place(rng, taken, np.full(len(taken), ROOM_M), draws=DRAWS)
