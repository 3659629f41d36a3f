"""Insert a peg: upright and deep enough in the named block's hole; the hole is 2 to 3 mm wider, whatever the scale."""

import mujoco
import numpy as np
import pytest
from playing_tasks import expert_episode, layouts, nominal_world, put_tool

from sim.envs.simulation import Simulation, SimulationConfig
from sim.randomize.ranges import RandomizeConfig

TOP_M, HALF_M = 0.040, 0.035  # of a block and a peg at nominal size


@pytest.fixture(scope="module")
def both():
    """Two pegs and two blocks stand on the table."""
    seeds = (nominal_world("insert_peg", seed) for seed in range(99))
    counts = lambda layout: (len(layout.object_xy_m), len(layout.target_xy_m))  # noqa: E731
    return next(world for world in seeds if counts(world.params.layout) == (2, 2))


@pytest.fixture
def world(both):
    both.rebuild(both.params)
    return both


def put_peg(
    world: Simulation, peg: int, block: int, deep_m: float, aside_m: float = 0.0, tilt_rad: float = 0.0
) -> None:
    """The peg's foot `deep_m` below the block's top, its sides along the hole's."""
    first, body = world.scene.object_qpos[peg], world.scene.targets[block]
    x, y, _ = world.scene.model.body_pos[body]
    yaw = world.params.layout.target_yaw_rad[block]
    upright, tilt = (
        np.array([np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)]),
        np.array([np.cos(tilt_rad / 2), np.sin(tilt_rad / 2), 0, 0]),
    )
    world.data.qpos[first : first + 3] = [x + aside_m, y, TOP_M - deep_m + HALF_M]
    mujoco.mju_mulQuat(world.data.qpos[first + 3 : first + 7], upright, tilt)
    mujoco.mj_forward(world.scene.model, world.data)


@pytest.mark.parametrize(
    ("peg", "block", "deep_m", "tilt_rad", "done"),
    [
        (0, 0, 0.028, 0.0, True),
        (0, 0, 0.016, 0.05, True),
        (0, 0, 0.014, 0.0, False),
        (0, 0, -0.001, 0.0, False),
        (0, 0, 0.020, 0.3, False),
        (0, 1, 0.028, 0.0, False),
        (1, 0, 0.028, 0.0, False),
    ],
)
def test_done_is_the_named_peg_deep_in_the_named_block(world, peg, block, deep_m, tilt_rad, done):
    put_peg(world, peg, block, deep_m, tilt_rad=tilt_rad)
    assert world.success() is done


def test_a_peg_beside_the_block_is_not_in_it(world):
    put_peg(world, 0, 0, 0.040, aside_m=0.08)
    assert not world.success()


def test_a_moving_peg_is_not_in_it(world):
    put_peg(world, 0, 0, 0.028)
    world.data.qvel[world.scene.object_dof[0] + 2] = -0.1
    assert not world.success()


@pytest.mark.parametrize(("width_m", "done"), [(0.0108, False), (0.02, True)])
def test_a_peg_in_the_fingers_is_not_done(world, width_m, done):
    x, y = world.params.layout.target_xy_m[0]
    put_tool(world, [x, y, TOP_M - 0.028 + HALF_M + 0.025], world.params.layout.target_yaw_rad[0])
    world.data.qpos[world.scene.finger_qpos] = width_m
    put_peg(world, 0, 0, 0.028)
    assert world.scene_state.is_held(0) is not done and world.success() is done


def test_no_cube_is_called_as_a_block_is():
    """Both are blocks: none has the colour of one."""
    ranges = RandomizeConfig(distractors=(6, 6), distractor_shapes=("cube",))
    world, cubes = Simulation(SimulationConfig("insert_peg", ranges)), set()
    for seed in range(30):
        layout = world.draw(seed).layout
        assert not set(layout.distractor_colours) & set(layout.target_colours)
        cubes |= set(layout.distractor_colours)
    assert len(cubes) >= 4  # a colour that no block has in that episode


@pytest.mark.parametrize("aside_m", [0.0, 0.004])
def test_a_peg_let_go_over_the_hole_or_its_chamfer_falls_in_and_stays(world, aside_m):
    put_peg(world, 0, 0, -0.002, aside_m=aside_m)
    assert not world.success()
    world.step(500)
    assert world.success()
    height_m = world.data.qpos[world.scene.object_qpos[0] + 2]
    assert height_m == pytest.approx(0.012 + HALF_M, abs=0.001)  # on the floor of the hole


def test_a_peg_turned_across_the_hole_stays_out(world):
    put_peg(world, 0, 0, -0.002)
    first = world.scene.object_qpos[0] + 3
    turn = np.array([np.cos(np.pi / 8), 0, 0, np.sin(np.pi / 8)])
    mujoco.mju_mulQuat(world.data.qpos[first : first + 4], world.data.qpos[first : first + 4].copy(), turn)
    world.step(500)
    assert not world.success()


@pytest.mark.parametrize("scale", [0.9, 1.1])
def test_the_hole_is_2_to_3_mm_wider_than_the_peg(scale):
    """Oracle: rays from the middle of the hole to its four walls."""
    world = Simulation(SimulationConfig(task="insert_peg", randomize=RandomizeConfig(object_scale=(scale, scale))))
    world.reset(4)
    body, yaw = world.scene.targets[0], world.params.layout.target_yaw_rad[0]
    middle = world.data.xpos[body] + [0, 0, 0.025 * scale]
    hit = np.zeros(1, np.int32)
    gaps = [
        mujoco.mj_ray(world.scene.model, world.data, middle, np.array([np.cos(a), np.sin(a), 0.0]), None, 1, -1, hit)
        for a in yaw + np.arange(4) * np.pi / 2
    ]
    thick_m = 0.022 * scale
    assert gaps[0] == pytest.approx(gaps[2], abs=1e-6) and gaps[1] == pytest.approx(gaps[3], abs=1e-6)
    assert 0.002 <= gaps[0] + gaps[2] - thick_m <= 0.003
    assert 0.002 <= gaps[1] + gaps[3] - thick_m <= 0.003


def test_a_block_can_be_touched_as_far_as_it_reaches_whatever_was_played_before():
    """Oracle: half the diagonal of each of its boxes; MuJoCo lets nothing touch beyond `geom_rbound`."""
    world = Simulation(SimulationConfig(task="insert_peg"))
    model = world.scene.model
    boxes = [g for body in world.scene.targets for g in range(model.ngeom) if model.geom_bodyid[g] == body]
    scales = set()
    for seed in range(4):
        world.reset(seed)
        scales.add(world.scene.slots[0].scale)
        np.testing.assert_allclose(model.geom_rbound[boxes], np.linalg.norm(model.geom_size[boxes], axis=1), rtol=1e-9)
    assert len(scales) == 4


def test_layouts_name_one_peg_and_one_block_and_leave_room():
    drawn = layouts("insert_peg")
    assert {(layout["objects"], layout["targets"]) for layout in drawn} == {(1, 1), (1, 2), (2, 1), (2, 2)}
    for layout in drawn:
        pegs, blocks = (layout[key].split(",") for key in ("object_colours", "target_colours"))
        assert len(set(pegs)) == len(pegs) and len(set(blocks)) == len(blocks)
        assert pegs[0] in layout["instruction"] and blocks[0] in layout["instruction"]
        xy = np.reshape([*layout["object_xy_m"], *layout["target_xy_m"]], (-1, 2))
        assert min(np.linalg.norm(a - b) for i, a in enumerate(xy) for b in xy[:i]) >= 0.10


def test_the_expert_inserts_it():
    result = expert_episode("insert_peg", 300_001)
    assert result.success and not result.guard.latched
