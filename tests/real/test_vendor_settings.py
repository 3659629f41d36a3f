"""Settings, waits and numbered queries of the vendor's SDK on the emulator. Counts and orders: its source, typed."""

import time

import numpy as np
import pytest
from fr3 import FR3
from running import Running
from waiting import wait_for

from real.core.faults import RobotFault
from real.emulator import kinematics
from real.emulator.accepted_settings import accepted_settings
from real.emulator.vendor_methods import NOT_SERVED
from real.fairino.xmlrpc import RpcLink

# From the wire calls of SDK 2.0.6, 2.1.5 and 2.2.6; None: that release does not know the method.
COUNTS = {
    "WeldingSetVoltage": (4, 4, 4), "ArcWeldTraceControl": (11, 13, 13), "ConveyorSetParam": (1, 4, 4),
    "WeaveSetPara": (13, 14, 14), "SetCollisionDetectionMethod": (1, 2, 2), "SetOutputResetExtDO": (1, 1, 2),
    "PtpFIRPlanningStart": (None, 2, 2), "SetDIConfig": (None, None, 1), "SetRobotStopOnComDisc": (None, None, 1),
    "FT_Control": (12, 12, 14), "JointOverSpeedProtectStart": (2, 2, 2), "ExtDevSetUDPComParam": (9, 10, 10),
    "EndForceDragControl": (9, 11, 11),
}  # fmt: skip


@pytest.fixture
def link(running):
    connection = RpcLink(running.address("rpc_port"), 10.0)
    yield connection
    connection.close()


@pytest.mark.parametrize(("column", "version"), enumerate([(3, 7, 6), (3, 8, 5), (3, 9, 6)]))
def test_settings_take_the_arguments_of_their_release(column, version):
    table = accepted_settings(version)
    assert {name: table[name].arguments if name in table else None for name in COUNTS} == {
        name: counts[column] for name, counts in COUNTS.items()
    }


def test_nothing_is_both_served_and_not(running):
    assert not NOT_SERVED & set(running.emulator.rpc.instance._table)


def test_a_setting_is_read_back_and_logged_once_as_without_effect(link, caplog):
    caplog.set_level("INFO")
    assert link("WeldingGetProcessParam", 2) == [0, *[0] * 8]
    process = [177.0, 27.0, 1000.0, 178.0, 28.0, 176.0, 26.0, 1000.0]
    assert link("WeldingSetProcessParam", 2, *process) == link("WeldingSetProcessParam", 1, *[1.0] * 8) == 0
    assert link("WeldingGetProcessParam", 2) == [0, *process]
    assert link("SetDIConfig", list(range(8))) == 0
    assert link("GetDIConfig") == [0, *range(8)]
    lines = [record.message for record in caplog.records if "WeldingSetProcessParam" in record.message]
    assert lines == ["WeldingSetProcessParam is accepted and has no effect on the emulated arm"]


def test_the_force_sensor_that_is_not_there_answers_59(link):
    assert link("FT_Activate", 1) == 59  # "FT not active" of the manual
    assert link("FT_SetConfig", 17, 0, 0, 0) == 0
    assert link("FT_GetConfig") == [0, 17, 0, 0, 0]
    assert link("ForceSensorComputeLoad") == [59, 0, 0, 0, 0]
    assert link("GetForceAndTorqueDragState") == [0, 0, 0]


@pytest.mark.parametrize(
    ("method", "arguments", "code"),
    [
        ("WaitDI", (0, 1, 30, 0), 76), ("WaitDI", (0, 1, 30, 1), 0), ("WaitDI", (0, 0, 30000, 0), 0),
        ("WaitToolDI", (1, 1, 30, 0), 76), ("WaitMultiDI", (0, 3, 1, 30, 0), 76), ("WaitMultiDI", (2, 3, 1, 30, 0), 4),
        ("WaitAI", (0, 0, 2047.5, 30, 0), 76), ("WaitAI", (0, 1, 2047.5, 30000, 0), 0),
        ("WaitAI", (0, 5, 1.0, 9, 0), 4),
    ],
)  # fmt: skip
def test_waiting_for_an_input_that_stays_off(link, method, arguments, code):
    begin_s = time.monotonic()
    assert link(method, *arguments) == code
    assert time.monotonic() - begin_s < 25.0


def test_frames_and_loads_are_read_by_number(link):
    pose = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert link("SetToolList", 3, pose, 0, 0, 0) == 0
    assert link("GetToolCoordWithID", 3) == [0, *pose]
    assert link("GetToolCoordWithID", 99) == [4, *[0] * 6]
    assert link("SetWObjList", 2, pose, 0) == 0
    assert link("GetWObjCoordWithID", 2) == [0, *pose]
    assert link("SetLoadWeight", 0, 1.5) == link("SetLoadCoord", 10.0, 20.0, 30.0, 0) == 0
    assert link("GetTargetPayloadWithID", 0) == [0, 1.5, 10.0, 20.0, 30.0]


def go(running: Running, pose: np.ndarray) -> None:
    """Place the flange at a (4, 4), at once."""
    home = np.rad2deg(FR3.home_rad)
    joints = kinematics.inverse(pose, home, running.controller.low_deg, running.controller.high_deg)
    running.world._joints = running.world._target = np.deg2rad(joints)
    running.controller._hold_present()


def test_a_tool_is_computed_from_four_poses_about_one_tip(running, link):
    tool, tip = np.eye(4), kinematics.forward(np.rad2deg(FR3.home_rad))
    tool[:3, 3] = 12.0, -7.0, 150.0
    tip = tip @ tool
    assert link("ComputeTcp4")[0] == 25
    joints = []
    for number, turn in enumerate(([0, 0, 0], [15, 0, 0], [0, 15, 0], [-10, -10, 20]), 1):
        go(running, tip @ kinematics.matrix_of([0, 0, 0, *turn]) @ np.linalg.inv(tool))
        assert link("SetTcp4RefPoint", number) == 0
        joints.append(running.controller.measured_deg().tolist())
    code, *pose = link("ComputeTcp4")
    assert code == 0
    np.testing.assert_allclose(pose, [12, -7, 150, 0, 0, 0], atol=0.02)
    assert link("SetTcp4RefPoint", 5) == 4
    unread = [[0.0] * 6] * 2
    np.testing.assert_allclose(link("ComputeToolCoordWithPoints", 0, *joints, *unread), [0, *pose], atol=1e-6)
    assert link("ComputeToolCoordWithPoints", 0, *joints[:3], joints[0], *unread)[0] == 0  # three poses fix it too
    assert link("ComputeToolCoordWithPoints", 0, *[joints[0]] * 4, *unread)[0] == 25
    assert link("ComputeToolCoordWithPoints", 1, *joints, *unread)[0] == 4


@pytest.mark.parametrize(("method", "third"), [(0, [0, 0, 30]), (1, [5, 25, 0])])
def test_a_work_object_is_computed_from_three_points(running, link, method, third):
    wanted = [-350.0, -120.0, 200.0, 5.0, -8.0, 30.0]
    frame, hand = kinematics.matrix_of(wanted), kinematics.forward(np.rad2deg(FR3.home_rad))[:3, :3]
    points = []
    for number, point in enumerate(([0, 0, 0], [40, 0, 0], third), 1):
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = hand, (frame @ [*point, 1.0])[:3]
        go(running, pose)
        assert link("SetWObjCoordPoint", number) == 0
        points.append(kinematics.pose_of(pose))
    np.testing.assert_allclose(link("ComputeWObjCoord", method, 0), [0, *wanted], atol=0.02)
    np.testing.assert_allclose(link("ComputeWObjCoordWithPoints", method, *points, 0), [0, *wanted], atol=0.02)
    assert link("ComputeWObjCoordWithPoints", method, points[0], points[1], points[1], 0)[0] == 25


def test_a_joint_speed_is_servoed(running, link):
    running.controller.set_mode(0)
    running.controller.set_enabled(1)
    assert link("ServoMoveStart") == 0
    begin = np.rad2deg(FR3.home_rad)[0]
    for _ in range(50):
        assert link("ServoJV", [25.0, 0, 0, 0, 0, 0], [0.0] * 4, 0.0, 0.0, 0.008, 0.0, 0.0, 0) == 0
    wait_for(lambda: abs(running.controller.measured_deg()[0] - begin - 50 * 25 * 0.008) < 0.05)
    assert link("ServoJV", [25.0], [0.0] * 4, 0.0, 0.0, 0.008, 0.0, 0.0, 0) == 3
    assert link("ServoJV", [181.0, 0, 0, 0, 0, 0], [0.0] * 4, 0.0, 0.0, 0.008, 0.0, 0.0, 0) == 29


def test_an_older_release_does_not_know_later_methods():
    running = Running("3.8.5")
    try:
        link = RpcLink(running.address("rpc_port"), 10.0)
        assert link("GetRobotSN") == [0, "EMULATED"]
        for method in ("ServoJV", "SetDIConfig", "GetToolCoordWithID", "SetRobotStopOnComDisc"):
            with pytest.raises(RobotFault, match="unknown method"):
                link(method)
        link.close()
    finally:
        running.stop()
