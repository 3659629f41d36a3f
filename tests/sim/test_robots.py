"""Every registered robot at every rate: description and model agree, limits hold, the expert plays, data replay."""

import dataclasses

import frankik
import mujoco
import numpy as np
import pytest
from playing import SMALL, play_expert

from sim import replay
from sim.collect import CollectConfig, collect
from sim.control.dh import frames, jacobian
from sim.core.errors import UserError
from sim.dataset.reader import Dataset
from sim.envs.sim_env import SimEnv
from sim.envs.simulation import SimulationConfig
from sim.guard_benchmark.fuzz import Tally, play
from sim.planning.kinematics import ToolKinematics, tool_down
from sim.robots.franka import franka
from sim.robots.robot import ROBOTS, Robot, RobotConfig
from sim.scene.placement import AREA_X_M, AREA_Y_M, within_reach

RATES_HZ = (10, 20, 50, 100)
every_robot = pytest.mark.parametrize("robot", [ROBOTS.get(name)() for name in ROBOTS.names()], ids=ROBOTS.names())


@pytest.fixture(params=ROBOTS.names())
def name(request) -> str:
    return request.param


def address(model: mujoco.MjModel, robot: Robot) -> list[int]:
    return [model.joint(joint).qposadr[0] for joint in robot.joint_names]


# ---- description and model ---------------------------------------------------------------------


@every_robot
def test_a_description_has_one_value_a_joint_and_the_ranges_of_its_model(robot):
    model = mujoco.MjModel.from_xml_path(str(robot.mjcf))
    for field in dataclasses.fields(robot):
        if field.name.endswith(("_rad", "_rad_s")) and isinstance(value := getattr(robot, field.name), tuple):
            assert len(value) == robot.joints, field.name
    assert len(robot.dh_m) == robot.joints
    ranges = np.array([model.joint(joint).range for joint in robot.joint_names])
    np.testing.assert_allclose(ranges, np.column_stack([robot.position_min_rad, robot.position_max_rad]), atol=1e-4)
    assert (robot.action_min[:-1] < robot.home_rad).all() and (robot.home_rad < robot.action_max[:-1]).all()
    assert (np.array(robot.max_speed_rad_s) >= robot.policy_speed_rad_s).all()
    for finger in ("finger_left", "finger_right"):
        assert model.joint(finger).range[1] == pytest.approx(robot.gripper_stroke_m / 2)
    assert model.body_subtreemass[model.body("gripper").id] == pytest.approx(robot.gripper_kg)
    assert all(model.camera(camera.name).id >= 0 for camera in robot.wrist_cameras)


@every_robot
@pytest.mark.parametrize("seed", range(5))
def test_tool_and_jacobian_of_the_dh_table_are_those_of_the_model(robot, seed):
    model = mujoco.MjModel.from_xml_path(str(robot.mjcf))
    data = mujoco.MjData(model)
    joints = np.random.default_rng(seed).uniform(robot.position_min_rad, robot.position_max_rad)
    data.qpos[address(model, robot)] = joints
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    site = model.site("tcp").id
    links = frames(robot.dh_m, joints, robot.mount)
    tcp = (links[-1] @ [*robot.tcp_from_flange_m, 1.0])[:3]
    np.testing.assert_allclose(tcp, data.site_xpos[site], atol=1e-5)
    np.testing.assert_allclose(links[-1][:3, 2], data.site_xmat[site].reshape(3, 3)[:, 2], atol=1e-5)
    moved, turned = np.zeros((3, model.nv)), np.zeros((3, model.nv))
    mujoco.mj_jacSite(model, data, moved, turned, site)
    dofs = [model.joint(name).dofadr[0] for name in robot.joint_names]
    np.testing.assert_allclose(jacobian(links, tcp), np.vstack([moved, turned])[:, dofs], atol=1e-5)


@pytest.mark.parametrize("seed", range(10))
def test_franka_is_where_an_independent_package_says(seed):
    """frankik's frame is Franka's own hand: 0.1034 m beyond the flange, turned by -45 degrees."""
    robot, c = franka(), np.sqrt(0.5)
    joints = np.random.default_rng(seed).uniform(robot.position_min_rad, robot.position_max_rad)
    hand = np.array([[c, c, 0, 0], [-c, c, 0, 0], [0, 0, 1, 0.1034], [0, 0, 0, 1]])
    flange = robot.mount @ np.asarray(frankik.fk(joints)) @ np.linalg.inv(hand)
    pos_w, rotation_w = ToolKinematics(robot).forward(joints)
    np.testing.assert_allclose(pos_w, (flange @ [*robot.tcp_from_flange_m, 1.0])[:3], atol=1e-6)
    np.testing.assert_allclose(rotation_w[:, 2], flange[:3, 2], atol=1e-6)
    np.testing.assert_allclose(frankik.q_min_panda, robot.position_min_rad, atol=1e-3)
    np.testing.assert_allclose(frankik.q_max_panda, robot.position_max_rad, atol=1e-3)


@every_robot
def test_inverse_kinematics_reach_the_whole_work_space_in_one_posture(robot):
    kinematics, home = ToolKinematics(robot), np.array(robot.home_rad)
    rng, reached = np.random.default_rng(0), 0
    np.testing.assert_allclose(kinematics.forward(home)[1][:, 2], [0, 0, -1], atol=1e-3)
    while reached < 40:
        xy = np.array([rng.uniform(*AREA_X_M), rng.uniform(*AREA_Y_M)])
        if not within_reach(xy):
            continue
        pos_w, rotation_w = np.array([*xy, rng.uniform(0.014, 0.15)]), tool_down(rng.uniform(-1.0, 1.0))
        joints = kinematics.inverse(pos_w, rotation_w, home)
        assert joints is not None, pos_w
        assert (robot.position_min_rad <= joints).all() and (joints <= robot.position_max_rad).all()
        assert np.abs(joints - home)[:-1].max() < robot.posture_rad
        found_w, found_rotation_w = kinematics.forward(joints)
        assert np.linalg.norm(found_w - pos_w) < 2e-4
        np.testing.assert_allclose(found_rotation_w, rotation_w, atol=3e-3)
        reached += 1


# ---- rates -------------------------------------------------------------------------------------


@pytest.mark.parametrize("hz", RATES_HZ)
def test_nothing_beyond_a_limit_leaves_guard_or_servo_at_any_rate(name, hz):
    robot, tally, rng = RobotConfig(name, hz).load(), Tally(), np.random.default_rng(hz)
    for episode in range(40):
        tally.add(play(robot, rng, through_servo=episode % 4 == 0))
    assert tally.beyond == 0 and tally.actions > 1000 and tally.ticks > 1000
    assert tally.guard["position"] > 0.99 and max(tally.guard["speed"], tally.guard["jerk"]) > 0.99  # were tried


@pytest.mark.parametrize("hz", RATES_HZ)
def test_the_expert_succeeds_in_the_same_time_at_any_rate(name, hz):
    results = [play_expert(SimEnv(SimulationConfig(robot=RobotConfig(name, rate))), 300_001) for rate in (hz, 20)]
    assert all(result.success for result in results)
    assert results[0].steps == pytest.approx(results[0].time_s * hz)
    assert results[0].time_s == pytest.approx(results[1].time_s, rel=0.25)


@pytest.mark.parametrize(
    ("hz", "message"),
    [
        (30, "robot.control_hz=30: 33.3333 ms is no whole number of physics steps of 2 ms"),
        (0, "control_hz=0, expected from 1 to 250"),
        (200, "robot.control_hz=200: expected 1 to 125"),
    ],
)
def test_a_rate_that_cannot_be_is_one_line(name, hz, message):
    with pytest.raises(UserError, match=message):
        SimEnv(SimulationConfig(robot=RobotConfig(name, hz)))


# ---- datasets ----------------------------------------------------------------------------------


def test_a_dataset_says_its_robot_and_rate_and_replays(name, tmp_path):
    settings = CollectConfig(
        episodes=1, workers=1, out=str(tmp_path / "demos"), render=SMALL, robot=RobotConfig(name, 50)
    )
    dataset, robot = Dataset(collect(settings)), RobotConfig(name, 50).load()
    assert (dataset.info["robot_type"], dataset.fps) == (name, 50)
    columns = dataset.columns(0, ["action", "timestamp"])
    assert columns["action"].shape == (dataset.length(0), robot.action_dim)
    np.testing.assert_allclose(np.diff(columns["timestamp"]), 0.02, atol=1e-6)
    world = SimulationConfig(render=SMALL, robot=RobotConfig(name, 50))
    assert replay.replay(SimEnv(world), dataset, 0, images=True) == []
    usual = RobotConfig(name).load().control_hz
    with pytest.raises(UserError, match=f"recorded with {name} at 50 Hz, not {name} at {usual} Hz; name a new out=DIR"):
        collect(dataclasses.replace(settings, robot=RobotConfig(name)))
    robot.check_same(name, 50, "it")
    other = next(one for one in ROBOTS.names() if one != name)
    with pytest.raises(
        UserError, match=rf"runs/x was made with {other} at 50 Hz, this is {name} at 50 Hz; robot={other}"
    ):
        robot.check_same(other, 50, "runs/x")


# ---- what is wrong with a description ----------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("", ""), "cannot read"),
        (('name="tcp"', 'name="tip"'), "has no site 'tcp'"),
        (('name="j2"', 'name="k2"'), "has no joint 'j2', no actuator 'j2'"),
        (("gripper.obj", "hand.obj"), "hand.obj"),
    ],
)
def test_a_model_that_is_not_the_descriptions_is_one_line(tmp_path, change, message):
    robot = franka()
    text = robot.mjcf.read_text().replace('meshdir="', f'meshdir="{robot.mjcf.parent}/')
    assert change[0] in text
    (tmp_path / "arm.xml").write_text(text.replace(*change) if change[0] else "<mujoco")
    with pytest.raises(UserError, match=message) as caught:
        ToolKinematics(dataclasses.replace(robot, mjcf=tmp_path / "arm.xml"))
    assert "\n" not in str(caught.value) and "robot franka" in str(caught.value)
