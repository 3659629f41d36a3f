"""The tool's kinematics: against the manual's DH table, and there and back."""

import numpy as np
import pytest
from fr3 import FR3

from sim.planning.kinematics import ToolKinematics, tool_down
from sim.scene.placement import AREA_X_M, AREA_Y_M, REACH_M

TCP_M = 0.160  # beyond the flange
DH_M = {"d1": 0.140, "a2": -0.280, "a3": -0.240, "d4": 0.102, "d5": 0.102, "d6": 0.100}  # of the manual


@pytest.fixture(scope="module")
def kinematics():
    return ToolKinematics(FR3)


def dh(theta: float, d: float, a: float, alpha: float) -> np.ndarray:
    c, s, ca, sa = np.cos(theta), np.sin(theta), np.cos(alpha), np.sin(alpha)
    return np.array([[c, -s * ca, s * sa, a * c], [s, c * ca, -c * sa, a * s], [0, sa, ca, d], [0, 0, 0, 1]])


def flange_by_dh(q: np.ndarray) -> np.ndarray:
    rows = [
        (q[0], DH_M["d1"], 0.0, np.pi / 2),
        (q[1], 0.0, DH_M["a2"], 0.0),
        (q[2], 0.0, DH_M["a3"], 0.0),
        (q[3], DH_M["d4"], 0.0, np.pi / 2),
        (q[4], DH_M["d5"], 0.0, -np.pi / 2),
        (q[5], DH_M["d6"], 0.0, 0.0),
    ]
    pose = np.eye(4)
    for row in rows:
        pose = pose @ dh(*row)
    return pose


@pytest.mark.parametrize("seed", range(10))
def test_forward_agrees_with_the_dh_table(kinematics, seed):
    q = np.random.default_rng(seed).uniform(-1.5, 1.5, 6)
    pos_w, rotation_w = kinematics.forward(q)
    flange = flange_by_dh(q)
    assert np.allclose(pos_w, flange[:3, 3] + TCP_M * flange[:3, 2], atol=1e-5)
    assert np.allclose(rotation_w[:, 2], flange[:3, 2], atol=1e-6)


def test_home_looks_straight_down(kinematics):
    _, rotation_w = kinematics.forward(np.array(FR3.home_rad))
    assert np.allclose(rotation_w[:, 2], [0, 0, -1], atol=1e-3)


@pytest.mark.parametrize("yaw", np.linspace(-3, 3, 7))
def test_tool_down_is_a_rotation_with_its_fingers_along_the_yaw(yaw):
    rotation = tool_down(yaw)
    assert np.allclose(rotation @ rotation.T, np.eye(3)) and np.linalg.det(rotation) == pytest.approx(1)
    assert np.allclose(rotation[:, 2], [0, 0, -1])
    assert np.arctan2(rotation[1, 1], rotation[0, 1]) == pytest.approx(yaw)


def test_inverse_closes_everywhere_in_the_work_space(kinematics):
    rng, home, reached = np.random.default_rng(0), np.array(FR3.home_rad), 0
    while reached < 40:
        xy = np.array([rng.uniform(*AREA_X_M), rng.uniform(*AREA_Y_M)])
        if not REACH_M[0] <= np.linalg.norm(xy) <= REACH_M[1]:
            continue
        pos_w, rotation_w = np.array([*xy, rng.uniform(0.014, 0.15)]), tool_down(rng.uniform(-1.0, 1.0))
        q = kinematics.inverse(pos_w, rotation_w, home)
        assert q is not None, pos_w
        assert (FR3.position_min_rad <= q).all() and (q <= FR3.position_max_rad).all()
        found_w, found_rotation_w = kinematics.forward(q)
        assert np.linalg.norm(found_w - pos_w) < 2e-4
        assert np.allclose(found_rotation_w, rotation_w, atol=3e-3)
        reached += 1


def test_what_is_out_of_reach_is_not_reached(kinematics):
    assert kinematics.inverse(np.array([-0.9, 0.0, 0.3]), tool_down(0.0), np.array(FR3.home_rad)) is None
