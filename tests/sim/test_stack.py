"""Stack: what counts as stacked, what is laid out, and that the expert does it."""

import mujoco
import numpy as np
import pytest
from playing import SMALL, calm, play_expert
from playing_tasks import put_tool

from sim.envs.sim_env import SimEnv
from sim.envs.simulation import Simulation, SimulationConfig
from sim.expert.imperfections import CLEAN
from sim.expert.scripted import Expert
from sim.randomize.ranges import RandomizeConfig
from sim.tasks.base import TASKS

HALF_M = 0.02  # of a cube at scale 1
RNG_DRAWS = 200


@pytest.fixture(scope="module")
def world():
    built = Simulation(SimulationConfig("stack", calm().randomize, SMALL))
    built.reset(next(seed for seed in range(100) if len(built.draw(seed).layout.object_xy_m) == 3))
    yield built
    built.close()


def put(world: Simulation, cube: int, pos_w: tuple[float, float, float], tilt_rad: float = 0.0) -> None:
    first = world.scene.object_qpos[cube]
    world.data.qpos[first : first + 7] = [*pos_w, np.cos(tilt_rad / 2), np.sin(tilt_rad / 2), 0, 0]
    world.data.qvel[:] = 0
    mujoco.mj_forward(world.scene.model, world.data)


@pytest.mark.parametrize(
    ("named", "base", "third", "stacked"),
    [
        ((0, 0, 3), (0, 0, 1), (4, 0, 1), True),
        ((0.5, 0.5, 3), (0, 0, 1), (4, 0, 1), True),
        ((1.2, 0, 3), (0, 0, 1), (2.4, 0, 1), False),  # across two cubes
        ((0, 0, 1), (0, 0, 3), (4, 0, 1), False),  # the other way round
        ((4, 0, 1), (0, 0, 1), (0, 0, 3), False),  # the wrong cube
        ((4, 0, 3), (0, 0, 1), (4, 0, 1), False),  # on the wrong cube
        ((0, 0, 5), (0, 0, 1), (0, 0, 3), False),  # the wrong cube between
        ((0, 0, 5), (0, 0, 3), (0, 0, 1), False),  # the right one, which stands on the wrong one
        ((0, 0, 4), (0, 0, 1), (4, 0, 1), False),  # in the air
        ((2.1, 0, 1), (0, 0, 1), (4.2, 0, 1), False),  # beside it
    ],
)
def test_success_is_what_stands_on_what(world, named, base, third, stacked):
    """Places in half edges from a free spot of the table."""
    for cube, place in enumerate((named, base, third)):
        put(world, cube, np.array([-0.35, 0.0, 0.0]) + HALF_M * np.array(place))
    assert world.success() == stacked


@pytest.mark.parametrize("mover", [0, 1])
def test_a_tower_that_moves_is_not_done(world, mover):
    put(world, 1, (-0.35, 0, HALF_M))
    put(world, 0, (-0.35, 0, 3 * HALF_M))
    world.data.qvel[world.scene.object_dof[mover]] = 0.1
    assert not world.success()


@pytest.mark.parametrize(("width_m", "stacked"), [(HALF_M - 0.0005, False), (HALF_M + 0.005, True)])
def test_a_held_cube_is_not_stacked(world, width_m, stacked):
    put_tool(world, (-0.35, 0, 3 * HALF_M))
    world.data.qpos[world.scene.finger_qpos] = width_m
    for cube, place in enumerate([(0, 0, 3), (0, 0, 1), (4, 0, 1)]):
        put(world, cube, np.array([-0.35, 0.0, 0.0]) + HALF_M * np.array(place))
    assert world.scene_state.is_held(0) is not stacked and world.success() is stacked


@pytest.fixture(scope="module")
def layouts():
    ranges = RandomizeConfig(paraphrase=0.5)
    return [
        TASKS.get("stack").draw_layout(np.random.default_rng(seed), ranges).to_record() for seed in range(RNG_DRAWS)
    ]


def test_the_sentence_names_two_cubes_by_colours_that_no_other_has(layouts):
    for layout in layouts:
        colours = layout["object_colours"].split(",")
        assert len(set(colours)) == len(colours) == layout["objects"]
        words = layout["instruction"].replace(",", " ").split()
        assert colours[0] in words and colours[1] in words and not set(colours[2:]) & set(words)
        assert words.index(colours[0]) < words.index(colours[1]) or layout["wording"] >= len(
            TASKS.get("stack").sentences
        )
    assert {layout["objects"] for layout in layouts} == {2, 3}
    assert {layout["wording"] for layout in layouts} == set(
        range(len(TASKS.get("stack").sentences) + len(TASKS.get("stack").grammar))
    )


def test_fingers_find_room_between_cubes_that_the_arm_reaches(layouts):
    for layout in layouts:
        xy = np.reshape(layout["object_xy_m"], (-1, 2))
        assert (np.linalg.norm(xy, axis=1) < 0.46).all() and (np.linalg.norm(xy, axis=1) > 0.25).all()
        gaps = np.linalg.norm(xy[:, None] - xy[None], axis=-1)[np.triu_indices(len(xy), 1)]
        assert gaps.min() >= 0.095


def test_the_expert_stacks():
    env = SimEnv(SimulationConfig("stack", render=SMALL))
    assert play_expert(env, 700_000).success
    tower = env.world.data.xpos[env.world.scene.objects[:2]]
    assert tower[0, 2] > tower[1, 2] + 0.03 and np.hypot(*(tower[0] - tower[1])[:2]) < 0.02
    env.close()


def test_the_expert_undoes_a_tower_that_is_the_wrong_way_round():
    env = SimEnv(SimulationConfig("stack", calm().randomize, SMALL))
    env.reset(0)
    world = env.world
    xy = world.params.layout.object_xy_m[0]
    put(world, 0, (*xy, HALF_M))
    put(world, 1, (*xy, 3 * HALF_M))
    expert = Expert(env, CLEAN)
    expert.reset(env.observe(), 0)
    for _ in range(env.time_limit_steps):
        feedback = env.apply(expert.act(env.observe()))
        if feedback.terminated:
            break
    assert feedback.success
    env.close()
