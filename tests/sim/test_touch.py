"""What the tool feels, beside weights and contact forces that are known otherwise."""

from dataclasses import replace

import mujoco
import numpy as np
import pytest

from policies.scenes.poses import hold
from sim.core.contract import TOUCH_COLUMN, TOUCH_NAMES
from sim.dataset.reader import Dataset, DatasetWriter, Episode
from sim.dataset.recorder import EpisodeRecorder, features
from sim.envs.sim_env import SimEnv
from sim.envs.simulation import Simulation, SimulationConfig
from sim.envs.touch import NOISE, OFFSET, TouchSensor
from sim.episode.loop import run_episode
from sim.expert.imperfections import CLEAN
from sim.expert.scripted import Expert
from sim.guard.clearance import guarded
from sim.randomize.ranges import nominal

GRAVITY_M_S2 = 9.81
CLOSED_N = 60.0


@pytest.fixture
def world():
    world = Simulation(SimulationConfig(randomize=nominal()))
    world.reset(3)
    yield world
    world.close()


def true_wrench(world: Simulation) -> np.ndarray:
    return TouchSensor(world.scene).wrench(world.data)


def squeeze(world: Simulation) -> None:
    """Close the gripper on object 0 where the arm is, 30 cm above the table, and wait."""
    hold(world, 0, np.zeros(3))
    world.command(world.joints_rad(), 0.0)
    world.step(400)


def test_nothing_is_felt_in_free_air(world):
    world.step(200)
    np.testing.assert_allclose(true_wrench(world), 0.0, atol=1e-9)


def test_a_held_object_weighs_what_it_weighs_and_turns_the_tool_by_its_lever(world):
    squeeze(world)
    model, data, scene = world.scene.model, world.data, world.scene
    weight_w = np.array([0.0, 0.0, -GRAVITY_M_S2 * model.body_mass[scene.objects[0]]])
    from_world = data.site_xmat[scene.tcp_site].reshape(3, 3).T
    lever_w = data.xipos[scene.objects[0]] - data.site_xpos[scene.tcp_site]
    expected = np.concatenate([from_world @ weight_w, from_world @ np.cross(lever_w, weight_w)])
    np.testing.assert_allclose(true_wrench(world), expected, atol=0.02)


def test_pressed_onto_the_table_it_is_the_sum_of_the_contact_forces(world):
    squeeze(world)
    below = world.kinematics.forward(world.joints_rad())[0] - [0.0, 0.0, 0.5]
    down = world.kinematics.inverse(below, world.kinematics.forward(world.joints_rad())[1], world.joints_rad())
    start = world.joints_rad()
    down = start + [0.0, 0.5, 0.0, 0.0, 0.0, 0.0] if down is None else down
    for share in np.linspace(0, 1, 200):
        world.command(start + share * (down - start), 0.0)
        world.step(5)
        if np.linalg.norm(true_wrench(world)) > 20.0:
            break
    felt, force_w = true_wrench(world), np.zeros(3)
    model, data, hand = world.scene.model, world.data, {"gripper", "finger_left", "finger_right"}
    for i in range(data.ncon):
        names = [model.body(model.geom_bodyid[geom]).name for geom in data.contact.geom[i]]
        if (names[0] in hand) == (names[1] in hand):
            continue
        force = np.zeros(6)
        mujoco.mj_contactForce(model, data, i, force)
        on_second_w = data.contact.frame[i].reshape(3, 3).T @ force[:3]
        force_w += on_second_w if names[1] in hand else -on_second_w
    assert np.linalg.norm(force_w) > 20.0
    np.testing.assert_allclose(data.site_xmat[world.scene.tcp_site].reshape(3, 3) @ felt[:3], force_w, atol=1e-6)


def test_the_grip_is_half_of_the_drive_as_each_finger_gets_half(world):
    world.command(world.joints_rad(), 0.0)  # closed on nothing: at the end of its range the drive pushes little
    world.step(600)
    closed = world.touch()[0]
    squeeze(world)
    held = np.mean([world.touch()[0] for _ in range(50)])
    model, data = world.scene.model, world.data
    on_pad = []
    for i in range(data.ncon):
        if np.isin(data.contact.geom[i], world.scene.pads).any():
            force = np.zeros(6)
            mujoco.mj_contactForce(model, data, i, force)
            on_pad.append(force[0])
    assert held == pytest.approx(sum(on_pad) / 2, abs=1.5)  # two pads; the reading is in whole percent of 60 N
    assert held > closed + 10.0


def test_readings_are_whole_percents_with_the_noise_of_a_sensor_and_an_episodes_zero_point(world):
    readings = np.array([world.touch() for _ in range(2000)])
    assert readings.dtype == np.float32 and readings.shape[1] == len(TOUCH_NAMES)
    percent = readings[:, 0] / CLOSED_N * 100
    np.testing.assert_allclose(percent, percent.round(), atol=1e-4)
    np.testing.assert_allclose(readings[:, 1:].std(0), NOISE, rtol=0.1)
    zeros = []
    for seed in range(40):
        world.reset(seed)
        zeros.append(np.mean([world.touch()[1:] for _ in range(20)], 0))
    np.testing.assert_allclose(np.std(zeros, 0), OFFSET, rtol=0.5)


def test_reading_changes_nothing_in_the_physics():
    ends = []
    for reads in (False, True):
        world = Simulation(SimulationConfig("insert_peg"))
        world.reset(5)
        for _ in range(50):
            world.step(5)
            if reads:
                world.touch()
        ends.append(world.snapshot())
        world.close()
    np.testing.assert_array_equal(ends[0], ends[1])


def test_an_episode_records_it_and_a_peg_in_hand_shows(tmp_path):
    env = SimEnv(SimulationConfig("insert_peg"))
    recorder, expert = EpisodeRecorder(env.robot, images=False), Expert(env, CLEAN)
    result = run_episode(env, expert, guarded(env.robot), 0, recorder)
    episode = recorder.episode(result, "expert", {})
    with DatasetWriter(tmp_path / "d", features(env.robot, None), 20, env.robot.name) as writer:
        writer.commit(episode)
        writer.commit(replace(episode, columns=without_touch(episode)))
    dataset = Dataset(tmp_path / "d")
    assert dataset.features.columns[TOUCH_COLUMN].names == TOUCH_NAMES
    touch = dataset.columns(0, [TOUCH_COLUMN, "observation.state"])
    closed = touch["observation.state"][:, -1] < 0.5
    assert np.median(touch[TOUCH_COLUMN][closed, 0]) > 40.0 > 5.0 > np.median(touch[TOUCH_COLUMN][:20, 0])
    assert np.isnan(dataset.columns(1, [TOUCH_COLUMN])[TOUCH_COLUMN]).all()
    env.close()


def without_touch(episode: Episode) -> dict:
    nowhere = np.full_like(np.asarray(episode.columns[TOUCH_COLUMN]), np.nan)
    return {**episode.columns, TOUCH_COLUMN: nowhere}
