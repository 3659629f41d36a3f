"""The world: what counts as success, what is drawn, and that a stored draw is the same world again."""

import dataclasses
import itertools
import json

import mujoco
import numpy as np
import pytest
from fr3 import FR3
from playing import SMALL, calm

from policies.scenes.poses import hold
from sim.core.errors import UserError
from sim.envs.simulation import Simulation, SimulationConfig
from sim.planning.kinematics import tool_down
from sim.randomize.episode_params import EpisodeParams
from sim.randomize.randomization import draw_randomization
from sim.randomize.ranges import RandomizeConfig
from sim.scene.fixtures import PLATE_TOP_M
from sim.scene.placement import AREA_X_M, AREA_Y_M, COLOURS, REACH_M
from sim.tasks.base import TASKS
from sim.tasks.pick_place import MIN_GAP_M

PICK_PLACE = TASKS.get("pick_place")
CUBE_HALF_M = 0.020

ALL_PICTURED = ("front", "wrist")


@pytest.fixture(scope="module")
def world():
    built = Simulation(calm())
    yield built
    built.close()


@pytest.mark.parametrize(
    ("shape", "turn", "stands"),
    [
        ("can", [1, 0, 0, 0], True), ("can", [0, 1, 0, 0], False), ("mug", [0, 1, 0, 0], False),
        ("bottle", [0, 1, 0, 0], False), ("cube", [0, 1, 0, 0], True), ("book", [0, 1, 0, 0], True),
    ],
)  # fmt: skip
def test_what_has_a_top_stands_on_a_plate_on_its_foot_alone(shape, turn, stands):
    world = Simulation(calm(shapes=(shape,)))
    world.reset(0)
    first = world.scene.object_qpos[0]
    plate_w = [*world.params.layout.target_xy_m[0], PLATE_TOP_M + world.scene_state.half_height_m(0)]
    world.data.qpos[first : first + 7] = [*plate_w, *turn]
    mujoco.mj_forward(world.scene.model, world.data)
    assert world.success() is stands


@pytest.fixture(scope="module")
def draws():
    """400 episodes' draws."""
    config = RandomizeConfig()
    rows = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        layout = PICK_PLACE.draw_layout(rng, config)
        rows.append(EpisodeParams(layout, draw_randomization(rng, config, FR3, 3, 3)).to_record())
    return rows


# ---- success ---------------------------------------------------------------------------------------


def put_cube(world: Simulation, offset_m: tuple[float, float, float], tilt_rad: float = 0.0) -> None:
    """The named cube at rest at `offset_m` from where it stands when it is placed."""
    address = world.scene.object_qpos[0]
    middle = world.task.target_pos_w(world.scene_state) + [0, 0, CUBE_HALF_M]
    world.data.qpos[address : address + 3] = middle + offset_m
    world.data.qpos[address + 3 : address + 7] = [np.cos(tilt_rad / 2), np.sin(tilt_rad / 2), 0, 0]
    world.data.qvel[:] = 0
    mujoco.mj_forward(world.scene.model, world.data)


@pytest.mark.parametrize(
    ("offset_m", "placed"),
    [
        ((0, 0, 0), True),
        ((0.04, 0, 0), True),
        ((0.03, 0.03, 0.005), True),
        ((0.05, 0, 0), False),  # over the rim
        ((0.04, 0.04, 0), False),
        ((0, 0, 0.02), False),  # in the air, or on another cube
        ((0, 0, -PLATE_TOP_M - 0.001), False),
    ],
)
def test_success_is_where_the_cube_stands(world, offset_m, placed):
    world.reset(0)
    put_cube(world, offset_m)
    assert world.success() == placed


def test_a_cube_that_moves_is_not_placed(world):
    world.reset(0)
    put_cube(world, (0, 0, 0))
    world.data.qvel[world.scene.object_dof[0]] = 0.06
    assert not world.success()


def test_a_cube_between_the_fingers_is_not_placed(world):
    world.reset(0)
    plate = world.task.target_pos_w(world.scene_state)
    tool_pos_w = plate + [0, 0, CUBE_HALF_M]
    joints = world.kinematics.inverse(tool_pos_w, tool_down(0.0), np.array(world.robot.home_rad))
    assert joints is not None
    world.data.qpos[world.scene.arm_qpos] = joints
    put_cube(world, (0, 0, 0))
    assert world.success()  # the open hand is around it
    world.command(joints, 0.0)
    world.data.qpos[world.scene.finger_qpos] = CUBE_HALF_M - 5e-4  # and now it holds it
    mujoco.mj_forward(world.scene.model, world.data)
    assert not world.success()


def test_the_wrong_cube_on_the_plate_is_no_success(world):
    seed = next(
        s
        for s in range(50)
        if len(PICK_PLACE.draw_layout(np.random.default_rng(s), RandomizeConfig()).object_shapes) > 1
    )
    world.reset(seed)
    middle = world.task.target_pos_w(world.scene_state) + [0, 0, CUBE_HALF_M]
    other = world.scene.object_qpos[1]
    world.data.qpos[other : other + 3] = middle
    mujoco.mj_forward(world.scene.model, world.data)
    assert not world.success()


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_placed_at_the_start(world, seed):
    world.reset(seed)
    assert not world.success()


def test_what_stands_on_the_table_stays_there(world):
    world.reset(3)
    before = world.snapshot()
    world.step(250)
    assert np.abs(world.snapshot() - before).max() < 2e-3


# ---- draws -----------------------------------------------------------------------------------------


def test_stored_draws_rebuild_the_same_world_bit_for_bit():
    config = SimulationConfig(render=SMALL)
    first, second = Simulation(config), Simulation(config)
    for seed in (11, 12):
        first.reset(seed)
        stored = EpisodeParams.from_record(json.loads(json.dumps(first.params.to_record())))
        assert stored == first.params
        second.reset(seed + 1000)  # nothing of another episode may be left
        second.rebuild(stored)
        assert np.array_equal(first.snapshot(), second.snapshot())
        for camera in ALL_PICTURED:
            assert np.array_equal(first.render(camera), second.render(camera))
        for world in (first, second):
            world.command(np.array(world.robot.home_rad) + 0.2, 0.3)
            world.step(200)
        assert np.array_equal(first.snapshot(), second.snapshot())
    first.close()
    second.close()


@pytest.mark.parametrize("mass_kg", [0.03, 0.08, 0.3])
def test_a_cube_of_any_mass_falls_and_turns_as_newton_says(mass_kg):
    world = Simulation(
        SimulationConfig(randomize=dataclasses.replace(RandomizeConfig(), object_mass_kg=(mass_kg, mass_kg)))
    )
    world.reset(0)
    model, data, dof = world.scene.model, world.data, world.scene.object_dof[0]
    data.qpos[world.scene.object_qpos[0] + 2] = 1.0
    data.xfrc_applied[world.scene.objects[0]] = [mass_kg, 0, 0, 0, 0, 1e-3]
    mujoco.mj_forward(model, data)
    side_m = 2 * CUBE_HALF_M * world.params.randomization.object_scale[0]
    assert data.qacc[dof : dof + 3] == pytest.approx([1.0, 0.0, -9.81], abs=1e-6)
    assert data.qacc[dof + 5] == pytest.approx(1e-3 / (mass_kg * side_m**2 / 6), rel=1e-6)


def test_the_scale_of_clipping_and_shadows_is_the_scene_s():
    world = Simulation()
    for seed in range(3):
        world.reset(seed)
        assert world.scene.model.stat.extent == 1.0


def test_two_seeds_give_two_worlds():
    world = Simulation(SimulationConfig(render=SMALL))
    world.reset(1)
    picture = world.render("front")
    world.reset(2)
    assert (world.render("front") != picture).mean() > 0.2
    world.close()


def test_tables_are_plain_and_textured(draws):
    textured = np.array([row["table_texture"] > 0 for row in draws])
    assert abs(textured.mean() - RandomizeConfig().table_textured) < 0.1
    assert {row["table_texture"] for row in draws} == set(range(9))


def test_every_colour_wording_and_number_of_objects_is_drawn(draws):
    assert {row["object_colours"].split(",")[0] for row in draws} == set(COLOURS)
    assert {row["target_colours"].split(",")[0] for row in draws} == set(COLOURS)
    assert {row["wording"] for row in draws} == set(range(len(PICK_PLACE.sentences)))
    assert {(row["objects"], row["targets"]) for row in draws} == set(itertools.product((1, 2, 3), repeat=2))


def test_the_instruction_names_exactly_one_cube_and_one_plate(draws):
    for row in draws:
        cubes, plates = row["object_colours"].split(","), row["target_colours"].split(",")
        assert len(set(cubes)) == len(cubes) == row["objects"]
        assert len(set(plates)) == len(plates) == row["targets"]
        for colours, nouns in ((cubes, ("cube", "block")), (plates, ("plate", "dish"))):
            assert [f"{c} {n}" in row["instruction"] for c in COLOURS for n in nouns].count(True) == 1
            assert any(f"{colours[0]} {noun}" in row["instruction"] for noun in nouns)


def test_things_keep_their_distance_and_are_within_reach(draws):
    for row in draws:
        plates, cubes = np.reshape(row["target_xy_m"], (-1, 2)), np.reshape(row["object_xy_m"], (-1, 2))
        kinds, placed = ["plate"] * len(plates) + ["object"] * len(cubes), np.concatenate([plates, cubes])
        for i, j in itertools.combinations(range(len(placed)), 2):
            a, b = sorted((kinds[i], kinds[j]))
            assert np.linalg.norm(placed[i] - placed[j]) >= MIN_GAP_M[a, b]
        radius = np.linalg.norm(placed, axis=1)
        assert (radius >= REACH_M[0]).all() and (radius <= REACH_M[1]).all()
        assert (np.array(AREA_X_M)[0] <= placed[:, 0]).all() and (placed[:, 0] <= AREA_X_M[1]).all()
        assert (np.array(AREA_Y_M)[0] <= placed[:, 1]).all() and (placed[:, 1] <= AREA_Y_M[1]).all()


def test_labels_say_where_the_named_things_are(world):
    world.reset(4)
    truth = world.ground_truth()
    assert np.allclose(truth["grounding.object_pos_w"][:2], world.params.layout.object_xy_m[0], atol=1e-6)
    assert np.allclose(truth["grounding.target_pos_w"][:2], world.params.layout.target_xy_m[0], atol=1e-6)
    assert truth["grounding.target_pos_w"][2] == pytest.approx(PLATE_TOP_M)


def test_labels_say_where_the_tool_sees_them(world):
    world.reset(4)
    hold(world, 0, np.zeros(3))
    mujoco.mj_forward(world.scene.model, world.data)
    truth, tool_pos_w = world.ground_truth(), world.data.site_xpos[world.scene.tcp_site]
    assert np.allclose(truth["grounding.object_pos_t"], 0, atol=1e-6)
    seen = truth["grounding.target_pos_t"]
    assert seen[2] == pytest.approx(tool_pos_w[2] - PLATE_TOP_M, abs=1e-3)  # the tool looks straight down
    across = np.linalg.norm(truth["grounding.target_pos_w"] - tool_pos_w)
    assert np.linalg.norm(seen) == pytest.approx(across, abs=1e-6)


# ---- wrong input -----------------------------------------------------------------------------------


def test_an_unknown_task_is_named_with_the_nearest():
    with pytest.raises(UserError, match="unknown task 'pick_plaice'.*did you mean 'pick_place'"):
        SimulationConfig(task="pick_plaice")


@pytest.mark.parametrize(
    ("name", "bounds"), [("ambient", (0.4, 0.2)), ("ambient", (0.1, 0.2, 0.3)), ("object_scale", (0.2, 5.0))]
)
def test_a_range_that_is_none_is_refused(name, bounds):
    with pytest.raises(UserError, match=name):
        RandomizeConfig(**{name: bounds})
