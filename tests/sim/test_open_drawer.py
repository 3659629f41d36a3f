"""Opening a drawer: how it slides, what counts as open, where the cabinet stands, one episode of the expert."""

import mujoco
import numpy as np
import pytest
from playing import SMALL, play_expert, put_tool

from sim.envs.sim_env import SimEnv
from sim.envs.simulation import Simulation, SimulationConfig
from sim.expert.imperfections import CLEAN, QualityConfig
from sim.randomize.ranges import RandomizeConfig, nominal
from sim.scene import cabinet
from sim.tasks.base import TASKS

SEED_OF_TWO = 3  # an episode with two drawers


@pytest.fixture(scope="module")
def world():
    built = Simulation(SimulationConfig("open_drawer", nominal(), SMALL))
    yield built
    built.close()


@pytest.fixture(scope="module")
def layouts():
    return [
        TASKS.get("open_drawer").draw_layout(np.random.default_rng(seed), RandomizeConfig()).to_record()
        for seed in range(200)
    ]


def slide(world: Simulation, drawer: int, opening_m: float, speed_m_s: float = 0.0) -> None:
    joint = world.scene.model.joint(f"drawer_{drawer}")
    world.data.qpos[joint.qposadr[0]], world.data.qvel[joint.dofadr[0]] = opening_m, speed_m_s
    mujoco.mj_forward(world.scene.model, world.data)


# ---- the drawer --------------------------------------------------------------------------------------


def test_a_drawer_slides_against_its_friction_and_damping(world):
    world.reset(SEED_OF_TWO)
    model, data = world.scene.model, world.data
    friction_n, damping_n_s_m = world.params.layout.drawer_friction_n[0], world.params.layout.drawer_damping_n_s_m[0]
    dof = model.joint("drawer_0").dofadr[0]
    data.qfrc_applied[dof] = 0.6 * friction_n
    mujoco.mj_step(model, data, 100)
    assert abs(data.qvel[dof]) < 0.01 * 0.6 * friction_n / damping_n_s_m  # as damping alone would let it go
    data.qfrc_applied[dof] = friction_n + 0.5
    mujoco.mj_step(model, data, 250)
    assert data.qvel[dof] == pytest.approx(0.5 / damping_n_s_m, rel=0.05)


def test_drawers_touch_nothing_and_stay_where_they_are(world):
    world.reset(SEED_OF_TWO)
    for opening_m in (0.0, 0.05, 0.10):
        slide(world, 0, opening_m)
        slide(world, 1, opening_m)
        mujoco.mj_step(world.scene.model, world.data, 50)
        bodies = world.scene.model.geom_bodyid[world.data.contact.geom[: world.data.ncon]]
        drawers = [world.scene.model.body(f"drawer_{i}").id for i in range(2)]
        assert not np.isin(bodies, drawers).any()
        assert cabinet.opening_m(world.scene_state, 0) == pytest.approx(opening_m, abs=1e-4)


def test_the_handle_is_where_its_bar_is(world):
    world.reset(SEED_OF_TWO)
    slide(world, 0, 0.03)
    bar = np.flatnonzero(world.scene.model.geom_bodyid == world.scene.model.body("drawer_0").id)[-1]
    assert world.task.object_pos_w(world.scene_state) == pytest.approx(world.data.geom_xpos[bar])
    x, y, yaw = *world.params.layout.target_xy_m[0], world.params.layout.target_yaw_rad[0]
    top_w = [x - 0.065 * np.cos(yaw), y - 0.065 * np.sin(yaw), 0.064]  # of a cabinet 130 mm deep and 64 mm high
    assert world.task.target_pos_w(world.scene_state) == pytest.approx(top_w)


# ---- success -----------------------------------------------------------------------------------------


def test_open_is_the_named_drawer_six_centimetres_out_and_at_rest(world):
    world.reset(SEED_OF_TWO)
    assert len(world.params.layout.target_xy_m) == 2 and not world.success()
    slide(world, 1, 0.09)
    assert not world.success()  # the other one
    slide(world, 0, 0.055)
    assert not world.success()
    slide(world, 0, 0.065)
    assert not world.success()  # both
    slide(world, 1, 0.01)
    assert world.success()
    slide(world, 0, 0.065, speed_m_s=0.05)
    assert not world.success()


def test_a_drawer_still_in_the_hand_is_not_open(world):
    world.reset(SEED_OF_TWO)
    slide(world, 0, 0.07)
    bar_w, yaw = cabinet.bar_w(world.scene_state, 0, 0.07), world.params.layout.target_yaw_rad[0]
    put_tool(world, bar_w, yaw, 0.0147)  # the fingers around the bar, clear of it
    assert world.success()
    put_tool(world, bar_w, yaw, 0.0043)  # on the bar
    assert not world.success()


# ---- layout ------------------------------------------------------------------------------------------


def test_every_handle_is_within_reach_on_its_whole_way_and_faces_the_camera(layouts):
    for layout in layouts:
        places, yaws = np.reshape(layout["target_xy_m"], (-1, 2)), np.array(layout["target_yaw_rad"])
        out = np.stack([np.cos(yaws), np.sin(yaws)], 1)
        for travel_m in (0.0, 0.096):
            radius_m = np.linalg.norm(places + (0.047 + travel_m) * out, axis=1)
            assert (radius_m >= 0.25).all() and (radius_m <= 0.455).all()
        to_camera = np.array([-0.86, 0.0]) - places
        angle = np.arccos((out * to_camera).sum(1) / np.linalg.norm(to_camera, axis=1))
        assert (np.rad2deg(angle) < 69).all()


def test_one_drawer_is_named_by_its_colour(layouts):
    assert {layout["targets"] for layout in layouts} == {1, 2}
    for layout in layouts:
        colours = layout["target_colours"].split(",")
        assert len(set(colours)) == layout["targets"] and colours[0] in layout["instruction"]
        assert all(colour not in layout["instruction"] for colour in colours[1:])
        if layout["targets"] == 2:
            (a, b) = np.reshape(layout["target_xy_m"], (2, 2))
            assert np.linalg.norm(a - b) == pytest.approx(0.100)


def test_the_named_drawer_is_as_often_left_as_right(layouts):
    two = [layout for layout in layouts if layout["targets"] == 2]
    left = 0
    for layout in two:
        (a, b), yaw = np.reshape(layout["target_xy_m"], (2, 2)), layout["target_yaw_rad"][0]
        left += (b - a) @ [-np.sin(yaw), np.cos(yaw)] > 0
    assert 0.35 < left / len(two) < 0.65


# ---- the expert --------------------------------------------------------------------------------------


def test_the_expert_opens_it_whether_pushed_or_not():
    env = SimEnv(SimulationConfig("open_drawer", render=SMALL))
    for seed, quality in ((700_000, CLEAN), (700_001, QualityConfig(perturbation_prob=1.0))):
        result = play_expert(env, seed, quality=quality)
        assert result.success and not result.guard.counts
        assert cabinet.opening_m(env.world.scene_state, 0) > 0.075
    env.close()
