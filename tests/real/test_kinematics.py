"""The emulated controller's kinematics: published vectors, MuJoCo's model of the arm, and there and back."""

import mujoco
import numpy as np
import pytest
from fr3 import FR3
from scipy.spatial.transform import Rotation

from real.emulator import kinematics

LOW, HIGH = np.rad2deg(FR3.position_min_rad), np.rad2deg(FR3.position_max_rad)


def test_forward_meets_the_published_vectors():
    vectors = {
        (0, 0, 0, 0, 0, 0): (-520, -202, 38, 90, 0, 0),
        (0, -60, 90, -120, -90, 0): (-449.85, -102, 162.49, 180, 0, 90),
        (10, -80, 100, -110, -85, 15): (-351.21, -174.35, 234.04, 178.70, 4.83, 84.95),
    }
    for joints, pose in vectors.items():
        got = kinematics.pose_of(kinematics.forward(list(joints)))
        np.testing.assert_allclose(got[:3], pose[:3], atol=0.01)
        turn = (np.array(got[3:]) - pose[3:] + 180) % 360 - 180
        np.testing.assert_allclose(turn, 0, atol=0.01)


def test_forward_meets_mujoco():
    model = mujoco.MjModel.from_xml_path(str(FR3.mjcf))
    data = mujoco.MjData(model)
    flange = model.site("flange").id
    rng = np.random.default_rng(0)
    for _ in range(20):
        joints = rng.uniform(LOW, HIGH)
        data.qpos[[model.joint(name).qposadr[0] for name in FR3.joint_names]] = np.deg2rad(joints)
        mujoco.mj_kinematics(model, data)
        pose = kinematics.forward(joints)
        np.testing.assert_allclose(pose[:3, 3], 1e3 * data.site_xpos[flange], atol=0.02)
        np.testing.assert_allclose(pose[:3, :3], data.site_xmat[flange].reshape(3, 3), atol=1e-4)


def test_a_pose_and_its_matrix_are_the_same():
    pose = [100.0, -200.0, 300.0, 170.0, -30.0, 45.0]
    np.testing.assert_allclose(kinematics.pose_of(kinematics.matrix_of(pose)), pose)


def test_inverse_reaches_what_forward_says_and_stays_inside():
    rng = np.random.default_rng(1)
    found = 0
    for _ in range(50):
        joints = rng.uniform(LOW + 20, HIGH - 20)
        pose = kinematics.forward(joints)
        back = kinematics.inverse(pose, joints + rng.uniform(-10, 10, 6), LOW, HIGH)
        if back is not None:
            found += 1
            np.testing.assert_allclose(kinematics.forward(back), pose, atol=1e-3)
            assert ((back >= LOW) & (back <= HIGH)).all()
    assert found >= 48


def test_what_is_out_of_reach_has_no_inverse():
    far = kinematics.matrix_of([5000, 0, 0, 180, 0, 0])
    assert kinematics.inverse(far, np.rad2deg(FR3.home_rad), LOW, HIGH) is None


def test_a_joint_beyond_its_range_is_turned_back_by_whole_turns():
    home = np.rad2deg(FR3.home_rad)
    turned = home + [0, 0, 0, 0, 0, 360]
    back = kinematics.inverse(kinematics.forward(turned), turned, LOW, HIGH)
    assert back == pytest.approx(home, abs=1e-3)


def test_the_tools_speed_is_the_change_of_its_pose():
    tool = kinematics.matrix_of([10, 20, 150, 5, 10, 15])
    joints, speed, dt_s = np.deg2rad([10, -80, 100, -110, -85, 15]), np.array([0.3, -0.2, 0.5, 0.1, -0.4, 0.7]), 1e-5
    before, after = (kinematics.frames(joints + sign * speed * dt_s / 2)[-1] @ tool for sign in (-1, 1))
    turn = Rotation.from_matrix(after[:3, :3] @ before[:3, :3].T).as_rotvec(degrees=True)
    expected = np.array([*(after[:3, 3] - before[:3, 3]), *turn]) / dt_s
    np.testing.assert_allclose(kinematics.speed(kinematics.frames(joints), tool, speed), expected, atol=1e-3)
