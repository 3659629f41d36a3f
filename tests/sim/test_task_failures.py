"""What an onlooker would step in for: each task's own, in scenes set up by hand, and never while the expert acts."""

import mujoco
import numpy as np
import pytest
from playing import SMALL, calm

from sim.envs.sim_env import SimEnv
from sim.envs.simulation import Simulation, SimulationConfig
from sim.episode.loop import run_episode
from sim.expert.imperfections import CLEAN
from sim.expert.scripted import Expert
from sim.guard.clearance import guarded
from sim.planning.kinematics import tool_down
from sim.tasks.base import TASKS

CUBE_HALF_M, PLATE_TOP_M = 0.020, 0.008


def world_with(task: str, objects: int = 0, targets: int = 0) -> Simulation:
    """The first episode with so many of each at least."""
    world = Simulation(SimulationConfig(task, calm().randomize, SMALL))

    def fits(seed: int) -> bool:
        layout = world.draw(seed).layout
        return len(layout.object_xy_m) >= objects and len(layout.target_xy_m) >= targets

    world.reset(next(seed for seed in range(60) if fits(seed)))
    return world


def failure(world: Simulation) -> str:
    mujoco.mj_forward(world.scene.model, world.data)
    return world.task.failure(world.scene_state)


def move(world: Simulation, i: int, pos_w) -> None:
    first = world.scene.object_qpos[i]
    world.data.qpos[first : first + 3] = pos_w


def put_tool(world: Simulation, pos_w) -> None:
    joints = world.kinematics.inverse(pos_w, tool_down(0.0), np.array(world.robot.home_rad))
    assert joints is not None
    world.data.qpos[world.scene.arm_qpos] = joints


@pytest.mark.parametrize("task", TASKS.names())
def test_the_expert_gives_no_reason_to_step_in(task):
    """At no step of an episode without imperfections."""
    env = SimEnv(SimulationConfig(task, calm().randomize, SMALL))
    seen = set()

    class Onlooker:
        def add(self, step) -> None:
            seen.add(env.world.task.failure(env.world.scene_state))

    assert run_episode(env, Expert(env, CLEAN), guarded(env.robot), 4, Onlooker()).success
    assert seen == {""}


@pytest.mark.parametrize("task", ["pick_place", "stack", "push", "insert_peg", "place_in_drawer"])
def test_another_object_taken_up_is_the_wrong_one(task):
    world = world_with(task, objects=2)
    start_w = world.scene_state.object_pos_w(1)
    move(world, 1, start_w + [0, 0, 0.02])
    assert failure(world) == ""
    move(world, 1, start_w + [0, 0, 0.04])
    assert failure(world) == "wrong object"


@pytest.mark.parametrize("task", ["pick_place", "stack", "insert_peg", "place_in_drawer", "sort"])
def test_an_object_let_go_beside_its_target_was_dropped(task):
    world = world_with(task, objects=1)
    state = world.scene_state
    i = world.task.graspable(state)
    start_w = state.object_pos_w(i)
    away_w = start_w + 0.06 * (start_w - world.task.target_pos_w(state)) * [1, 1, 0] / np.linalg.norm(
        (start_w - world.task.target_pos_w(state))[:2]
    )
    move(world, i, away_w)
    assert failure(world) == "dropped"
    world.data.qpos[world.scene.finger_qpos] = 0.3 * world.scene.finger_travel_m  # in the gripper
    assert failure(world) == ""


def test_sort_takes_up_any_cube_and_puts_none_on_a_plate_of_another_colour():
    world = world_with("sort")
    for i in range(3):
        start_w = world.scene_state.object_pos_w(i)
        move(world, i, start_w + [0, 0, 0.08])
        assert failure(world) == ""
        move(world, i, start_w)
    move(world, 0, world.scene_state.target_pos_w(1) + [0, 0, PLATE_TOP_M + CUBE_HALF_M])
    assert failure(world) == "wrong plate"
    move(world, 0, world.scene_state.target_pos_w(0) + [0, 0, PLATE_TOP_M + CUBE_HALF_M])
    assert failure(world) == ""


def test_reach_is_not_for_another_plate():
    world = world_with("reach", targets=2)
    for plate, reason in ((0, ""), (1, "wrong target")):
        put_tool(world, world.scene_state.target_pos_w(plate) + [0, 0, 0.04])
        assert failure(world) == reason
    put_tool(world, world.scene_state.target_pos_w(1) + [0, 0, 0.12])  # high above it, on the way
    assert failure(world) == ""


@pytest.mark.parametrize(
    ("task", "joint", "named_m", "other_m"),
    [("press_button", "button", 0.006, 0.006), ("open_drawer", "drawer", 0.05, 0.03)],
)
def test_a_button_or_drawer_that_is_not_named_is_the_wrong_one(task, joint, named_m, other_m):
    world = world_with(task, targets=2)
    world.data.joint(f"{joint}_0").qpos[0] = named_m
    assert failure(world) == ""
    world.data.joint(f"{joint}_1").qpos[0] = other_m
    assert failure(world) == f"wrong {joint}"
