"""Sort: sub-tasks are counted one by one, named in order, and the expert does them all."""

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

ON_PLATE_M = 0.008 + 0.020  # middle of a cube on a plate


@pytest.fixture
def world():
    built = Simulation(SimulationConfig("sort", calm().randomize, SMALL))
    built.reset(0)
    yield built
    built.close()


def put_on_plate(world: Simulation, cube: int, plate: int, aside_m: float = 0.0, up_m: float = 0.0) -> None:
    first = world.scene.object_qpos[cube]
    plate_w = world.data.xpos[world.scene.targets[plate]]
    world.data.qpos[first : first + 3] = plate_w + [aside_m, 0, ON_PLATE_M + up_m]
    world.data.qvel[:] = 0
    mujoco.mj_forward(world.scene.model, world.data)


def done(world: Simulation) -> int:
    return world.task.subtasks_done(world.scene_state)


def test_sub_tasks_count_as_they_are_done_and_the_labels_follow(world):
    """The label of the object and that of the target are those of the first cube that is left."""
    for cube in range(3):
        assert done(world) == cube and not world.success()
        truth = world.ground_truth()
        assert np.allclose(truth["grounding.object_pos_w"], world.data.xpos[world.scene.objects[cube]], atol=1e-6)
        plate_w = np.array(world.params.layout.target_xy_m[cube])
        assert np.allclose(truth["grounding.target_pos_w"], [*plate_w, 0.008], atol=1e-6)
        put_on_plate(world, cube, cube)
    assert done(world) == 3 and world.success()


def test_a_cube_counts_and_the_next_is_named_once_it_is_let_go(world):
    """A snapshot's labels too: they are of an image that was taken before."""
    layout, cubes = world.params.layout, world.scene.objects
    put_tool(world, [*layout.target_xy_m[0], ON_PLATE_M], opening=0.0)
    put_on_plate(world, 0, 0)
    world.data.qpos[world.scene.object_qpos[0] + 3 :][:4] = 1, 0, 0, 0
    for width_m, held in ((0.0195, True), (world.scene.finger_travel_m, False)):
        world.data.qpos[world.scene.finger_qpos] = width_m
        mujoco.mj_forward(world.scene.model, world.data)
        assert world.scene_state.is_held(0) is held and done(world) == int(not held)
        cube_w = world.data.xpos[cubes[int(not held)]]
        for truth in (world.ground_truth(), world.ground_truth(world.snapshot())):
            assert np.allclose(truth["grounding.object_pos_w"], cube_w, atol=1e-6)


def test_no_other_cube_is_on_the_table():
    ranges = RandomizeConfig(distractors=(3, 3), distractor_shapes=("cube", "can"))
    world = Simulation(SimulationConfig("sort", ranges, SMALL))
    drawn = [world.draw(seed).layout.distractor_shapes for seed in range(20)]
    assert {shape for shapes in drawn for shape in shapes} == {"can"}


def test_another_order_counts_too(world):
    put_on_plate(world, 2, 2)
    assert done(world) == 1
    assert np.allclose(
        world.ground_truth()["grounding.object_pos_w"], world.data.xpos[world.scene.objects[0]], atol=1e-6
    )


@pytest.mark.parametrize(
    ("aside_m", "up_m", "counts"),
    [(0.04, 0.0, True), (0.05, 0.0, False), (0.0, 0.02, False), (0.0, -0.01, False)],
)
def test_a_cube_counts_where_it_stands_on_its_plate(world, aside_m, up_m, counts):
    put_on_plate(world, 1, 1, aside_m, up_m)
    assert done(world) == int(counts)


def test_plates_of_other_colours_do_not_count(world):
    for cube, plate in enumerate((1, 2, 0)):
        put_on_plate(world, cube, plate)
    assert done(world) == 0 and not world.success()


def test_a_cube_that_moves_does_not_count(world):
    put_on_plate(world, 0, 0)
    world.data.qvel[world.scene.object_dof[0]] = 0.1
    assert done(world) == 0


def test_layouts():
    ranges = RandomizeConfig(paraphrase=0.5)
    wordings = set()
    for seed in range(200):
        layout = TASKS.get("sort").draw_layout(np.random.default_rng(seed), ranges).to_record()
        colours = layout["object_colours"].split(",")
        assert len(set(colours)) == 3 and layout["target_colours"] == layout["object_colours"]
        assert layout["subtasks"].split(";") == [f"put the {c} cube on the {c} plate" for c in colours]
        cubes, plates = (np.reshape(layout[key], (3, 2)) for key in ("object_xy_m", "target_xy_m"))
        assert (np.diff(cubes[:, 1]) >= 0).all()  # from the arm's left to its right
        assert np.linalg.norm(cubes[:, None] - plates[None], axis=-1).min() >= 0.095  # none is done from the start
        assert not set(colours) & set(layout["instruction"].split())
        wordings.add(layout["wording"])
    assert wordings == set(range(len(TASKS.get("sort").sentences) + len(TASKS.get("sort").grammar)))


def test_the_expert_sorts():
    env = SimEnv(SimulationConfig("sort", render=SMALL))
    assert play_expert(env, 700_000).success
    cubes, plates = (
        env.world.data.xpos[bodies[:3], :2] for bodies in (env.world.scene.objects, env.world.scene.targets)
    )
    assert np.linalg.norm(cubes - plates, axis=1).max() < 0.045
    env.close()


def test_the_expert_sorts_out_cubes_that_stand_on_one_anothers_plates():
    env = SimEnv(SimulationConfig("sort", calm().randomize, SMALL))
    env.reset(0)
    for cube, plate in enumerate((1, 0)):
        put_on_plate(env.world, cube, plate)
    expert = Expert(env, CLEAN)
    expert.reset(env.observe(), 0)
    for _ in range(env.time_limit_steps):
        feedback = env.apply(expert.act(env.observe()))
        if feedback.terminated:
            break
    assert feedback.success
    env.close()
