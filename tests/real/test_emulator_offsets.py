"""Offsets of targets on the emulator: of one motion, and of every one between PointsOffsetEnable and its end."""

import numpy as np
from fr3 import FR3
from running import Running

from real.emulator import kinematics

HOME = np.rad2deg(FR3.home_rad)
ZEROS, AXES = [0.0] * 6, [0.0] * 4
TURN = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])  # of the work object below about z


def flange(running: Running) -> np.ndarray:
    return kinematics.forward(running.controller.drives.target_deg)


def line(pose: list[float], flag: int, offset: list[float]) -> list[float]:
    """MoveL's list of numbers to `pose` of tool 0 in work object 4."""
    return [*HOME.tolist(), *pose, 0, 4, 100.0, 100.0, 100.0, -1.0, 0, *AXES, 0, flag, *offset, 100.0, 0]


def test_a_target_is_shifted_along_the_work_object_or_the_tool(ready, running):
    assert ready("SetWObjCoord", 4, [0.0, 0.0, 0.0, 0.0, 0.0, 90.0], 0) == 0
    start = flange(running)
    code, *pose = ready("GetActualTCPPose", 1)
    offset = [30.0, 10.0, 20.0, 0.0, 0.0, 10.0]
    assert code == 0 and ready("MoveL", line(pose, 1, offset)) == 0
    moved = flange(running)
    np.testing.assert_allclose(moved[:3, 3] - start[:3, 3], TURN @ offset[:3], atol=0.05)
    turned = kinematics.matrix_of(offset)[:3, :3]  # about z, which the work object shares with the base
    np.testing.assert_allclose(moved[:3, :3], turned @ start[:3, :3], atol=1e-3)
    joints = kinematics.inverse(start, HOME, running.controller.low_deg, running.controller.high_deg).tolist()
    assert ready("MoveJ", joints, ZEROS, 0, 4, 100.0, 0.0, 100.0, AXES, -1.0, 2, offset) == 0
    np.testing.assert_allclose(flange(running), start @ kinematics.matrix_of(offset), atol=0.05)
    assert ready("MoveL", line(pose, 3, offset)) == ready("MoveL", line(pose, 1, [np.inf] * 6)) == 4
    assert ready("MoveL", line(pose, 1, [0.0, 0.0, 5000.0, 0.0, 0.0, 0.0])) == 112


def test_every_target_is_shifted_until_the_offset_ends(ready, running):
    start, move = flange(running)[:3, 3], [ZEROS, 0, 0, 100.0, 0.0, 100.0, AXES, -1.0, 0, ZEROS]
    up = [0.0, 0.0, 15.0, 0.0, 0.0, 0.0]
    assert ready("PointsOffsetEnable", 1, up) == 4
    assert ready("PointsOffsetEnable", 0, up) == 0
    assert ready("MoveJ", HOME.tolist(), *move) == 0
    np.testing.assert_allclose(flange(running)[:3, 3] - start, up[:3], atol=0.05)
    pose = kinematics.pose_of(kinematics.forward(HOME))
    assert ready("MoveCart", pose, 0, 0, 100.0, 0.0, 100.0, -1.0, -1) == 0
    np.testing.assert_allclose(flange(running)[:3, 3] - start, up[:3], atol=0.05)
    assert ready("PointsOffsetDisable") == 0
    assert ready("MoveJ", HOME.tolist(), *move) == 0
    np.testing.assert_allclose(flange(running)[:3, 3], start, atol=0.05)
