"""Placing in a drawer: what counts as inside, where things stand, episodes of the expert."""

import mujoco
import numpy as np
import pytest
from playing import SMALL, play_expert, put_tool

from sim.core.errors import UserError
from sim.envs.sim_env import SimEnv
from sim.envs.simulation import Simulation, SimulationConfig
from sim.expert.imperfections import CLEAN
from sim.randomize.ranges import RandomizeConfig, nominal
from sim.scene import cabinet
from sim.scene.layout import put_object
from sim.tasks.base import TASKS

SEED_OF_TWO = 0  # an episode with two drawers


@pytest.fixture(scope="module")
def world():
    built = Simulation(SimulationConfig("place_in_drawer", nominal(), SMALL))
    yield built
    built.close()


@pytest.fixture(scope="module")
def layouts():
    return [
        TASKS.get("place_in_drawer").draw_layout(np.random.default_rng(seed), RandomizeConfig()).to_record()
        for seed in range(200)
    ]


def put_cube(world: Simulation, drawer: int, x_m: float, y_m: float, z_m: float, speed_m_s: float = 0.0) -> None:
    """The named cube's middle before cabinet `drawer`, both drawers 90 mm open."""
    for i in range(2):
        world.data.qpos[world.scene.model.joint(f"drawer_{i}").qposadr[0]] = 0.09
    yaw = world.params.layout.target_yaw_rad[drawer]
    x, y = world.params.layout.target_xy_m[drawer]
    pos_w = [x + x_m * np.cos(yaw) - y_m * np.sin(yaw), y + x_m * np.sin(yaw) + y_m * np.cos(yaw), z_m]
    put_object(world.scene, world.data, 0, pos_w, yaw)
    world.data.qvel[:] = 0.0
    world.data.qvel[world.scene.object_dof[0]] = speed_m_s
    mujoco.mj_forward(world.scene.model, world.data)


# ---- success -----------------------------------------------------------------------------------------


def test_inside_is_on_the_floor_of_the_named_drawer_at_rest(world):
    world.reset(SEED_OF_TWO)
    assert len(world.params.layout.target_xy_m) == 2 and not world.success()
    put_cube(world, 0, 0.045, 0.0, 0.028)  # 20 mm of cube on 8 mm of floor
    assert world.success()
    put_cube(world, 0, 0.045, 0.0, 0.028, speed_m_s=0.1)
    assert not world.success()
    put_cube(world, 1, 0.045, 0.0, 0.028)
    assert not world.success()  # the other drawer
    put_cube(world, 0, 0.160, 0.0, 0.020)
    assert not world.success()  # on the table before it
    put_cube(world, 0, -0.02, 0.0, 0.084)
    assert not world.success()  # on the cabinet, over the drawer
    put_cube(world, 0, 0.045, 0.041, 0.046)
    assert not world.success()  # on the drawer's side


@pytest.mark.parametrize(("finger_m", "done"), [(0.0235, True), (0.0195, False)])
def test_an_object_still_in_the_hand_is_not_put_down(world, finger_m, done):
    """Fingers around the cube, along the panel, clear of it and on it."""
    world.reset(SEED_OF_TWO)
    put_cube(world, 0, 0.045, 0.0, 0.028)
    state, yaw = world.scene_state, world.params.layout.target_yaw_rad[0]
    put_tool(world, state.object_pos_w(0) + [0, 0, 0.015], yaw + np.pi / 2, finger_m)
    assert state.is_held(0) is not done and not cabinet.is_touched(state, 0)
    assert world.success() is done


@pytest.mark.parametrize(("finger_m", "done"), [(0.0147, True), (0.0043, False)])
def test_a_drawer_still_in_the_hand_does_not_count(world, finger_m, done):
    """Fingers around the handle, clear of it and on it."""
    world.reset(SEED_OF_TWO)
    put_cube(world, 0, 0.045, 0.0, 0.028)
    state, yaw = world.scene_state, world.params.layout.target_yaw_rad[0]
    put_tool(world, cabinet.bar_w(state, 0, 0.09), yaw, finger_m)
    assert not state.is_held(0) and cabinet.is_touched(state, 0) is not done
    assert world.success() is done


@pytest.mark.parametrize(("cube_m_s", "drawer_m_s", "done"), [(0.04, 0.0, True), (0.06, 0.0, False),
                                                              (0.0, 0.015, True), (0.0, -0.025, False)])  # fmt: skip
def test_cube_and_drawer_are_to_be_at_rest(world, cube_m_s, drawer_m_s, done):
    world.reset(SEED_OF_TWO)
    put_cube(world, 0, 0.045, 0.0, 0.028, cube_m_s)
    world.data.joint("drawer_0").qvel[0] = drawer_m_s
    assert world.success() is done


def test_a_cube_dropped_in_stays_in(world):
    world.reset(SEED_OF_TWO)
    put_cube(world, 0, 0.045, 0.01, 0.050)
    assert not world.success()
    world.step(300)
    assert world.success()


def test_the_points_are_of_the_handle_until_the_drawer_is_open_or_the_object_held(world, monkeypatch):
    seed = next(seed for seed in range(50) if world.draw(seed).layout.drawer_open_m[0] == 0.0)
    world.reset(seed)
    layout, state, slide = world.params.layout, world.scene_state, world.scene.model.joint("drawer_0").qposadr[0]
    (x, y), yaw = layout.target_xy_m[0], layout.target_yaw_rad[0]

    def before(front_m: float, z_m: float):
        return pytest.approx([x + front_m * np.cos(yaw), y + front_m * np.sin(yaw), z_m], abs=1e-6)

    for opening_m in (0.0, 0.06):
        world.data.qpos[slide] = opening_m
        mujoco.mj_forward(world.scene.model, world.data)
        assert world.task.object_pos_w(state) == before(0.047 + opening_m, 0.034)
        assert world.task.target_pos_w(state) == before(-0.065, 0.064)
    monkeypatch.setattr(type(state), "is_in_hand", lambda self, i: i == 0)
    assert world.task.object_pos_w(state) == pytest.approx(state.object_pos_w(0))
    assert world.task.target_pos_w(state) == before(0.0385, 0.008)  # the middle of 75 mm of floor
    monkeypatch.undo()
    world.data.qpos[slide] = 0.09
    mujoco.mj_forward(world.scene.model, world.data)
    assert world.task.object_pos_w(state) == pytest.approx(state.object_pos_w(0))
    assert world.task.target_pos_w(state) == before(0.046, 0.008)
    assert layout.subtasks == (f"open the {layout.target_colours[0]} drawer", layout.instruction)
    assert world.task.subtasks_done(state) == 1


# ---- layout ------------------------------------------------------------------------------------------


def test_objects_stand_clear_of_drawers_pulled_out(world):
    model, data = world.scene.model, world.data
    for seed in range(12):
        world.reset(seed)
        for i in range(len(world.params.layout.target_xy_m)):
            data.qpos[model.joint(f"drawer_{i}").qposadr[0]] = 0.10
        mujoco.mj_forward(model, data)
        furniture = np.isin(model.body_rootid[model.geom_bodyid], world.scene.targets)
        for i in range(len(world.params.layout.object_xy_m)):
            cube = world.scene.slots[i].touched("cube")[0]
            gaps = [mujoco.mj_geomDistance(model, data, cube, g, 1.0, None) for g in np.flatnonzero(furniture)]
            assert 0.04 < min(gaps) < 1.0


def test_half_of_the_episodes_begin_with_the_named_drawer_closed(layouts):
    closed = [layout["drawer_open_m"][0] == 0.0 for layout in layouts]
    assert 0.4 < np.mean(closed) < 0.6
    opened = [layout["drawer_open_m"][0] for layout in layouts if layout["drawer_open_m"][0]]
    assert min(opened) >= 0.08 and max(opened) <= 0.096


def test_the_sentence_names_one_object_and_one_drawer(layouts):
    assert {(layout["objects"], layout["targets"]) for layout in layouts} == {(1, 1), (1, 2), (2, 1), (2, 2)}
    for layout in layouts:
        for kind in ("object", "target"):
            colours = layout[f"{kind}_colours"].split(",")
            assert len(set(colours)) == len(colours) and colours[0] in layout["instruction"]


def test_only_what_fits_is_drawn():
    ranges = RandomizeConfig(shapes=("screwdriver", "can", "book"))
    layout = TASKS.get("place_in_drawer").draw_layout(np.random.default_rng(0), ranges).to_record()
    assert set(layout["object_shapes"].split(",")) == {"can"}
    with pytest.raises(UserError, match="screwdriver.*cube"):
        TASKS.get("place_in_drawer").draw_layout(
            np.random.default_rng(0), RandomizeConfig(shapes=("screwdriver",))
        ).to_record()


# ---- the expert --------------------------------------------------------------------------------------


def test_the_expert_opens_the_drawer_only_when_it_is_closed():
    env = SimEnv(SimulationConfig("place_in_drawer", render=SMALL))
    began_closed = {}
    for seed in range(700_000, 700_020):
        closed = env.world.draw(seed).layout.drawer_open_m[0] == 0.0
        if closed not in began_closed:
            result = play_expert(env, seed, quality=CLEAN)
            assert result.success and not result.guard.counts
            assert cabinet.opening_m(env.world.scene_state, 0) > 0.07
            began_closed[closed] = result.time_s
    assert began_closed[True] > began_closed[False] + 1.0
    env.close()
