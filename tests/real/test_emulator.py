"""The emulated controller over its sockets: what each release answers, planned motion, tools, accidents."""

import json
import threading
import time
import xmlrpc.client

import numpy as np
import pytest
from fr3 import FR3
from running import HOST, Running
from waiting import wait_for

from real.core.faults import RobotFault
from real.emulator import kinematics
from real.emulator.emulator import Emulator, EmulatorConfig
from real.emulator.fault_injection import ScheduledFault, read_script
from real.fairino.xmlrpc import RpcLink
from real.workcell.connect import RobotConnection
from real.workcell.emulator_process import PORTS
from sim.core.errors import UserError

HOME = np.rad2deg(FR3.home_rad)
ZEROS = [0.0] * 6


@pytest.fixture
def link(running):
    connection = RpcLink(running.address("rpc_port"), 10.0)
    yield connection
    connection.close()


@pytest.fixture
def ready(running, link):
    running.controller.set_mode(0)
    running.controller.set_enabled(1)
    return link


def move_j(link: RpcLink, joints, blend: float = -1.0, percent: float = 100.0):
    return link("MoveJ", list(map(float, joints)), ZEROS, 0, 0, percent, 0.0, 100.0, [0.0] * 4, blend, 0, ZEROS)


def move_l(link: RpcLink, joints, pose, percent: float = 100.0):
    numbers = [*joints, *pose, 0, 0, percent, 0.0, 100.0, -1.0, 0, *[0.0] * 4, 0, 0, *ZEROS, 100.0, 0]
    assert len(numbers) == 33
    return link("MoveL", [float(n) if isinstance(n, float | np.floating) else n for n in numbers])


# ---- releases ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("firmware", "counts"),
    [
        ("3.8.2", {"ServoJ": 7, "MoveL": 13, "SetLoadCoord": 3, "MotionQueueClear": None}),
        ("3.8.5", {"ServoJ": 8, "MoveL": 1, "SetLoadCoord": 3, "MotionQueueClear": None}),
        ("3.9.6", {"ServoJ": 8, "MoveL": 1, "SetLoadCoord": 4, "MotionQueueClear": 0}),
    ],
)
def test_each_release_has_its_own_arguments_and_ports(firmware, counts):
    running = Running(firmware)
    link = RpcLink(running.address("rpc_port"), 5.0)
    try:
        for method, count in counts.items():
            fault = "-506" if count is None else "-502"
            with pytest.raises(RobotFault, match=fault):
                link(method, *range(count + 1 if count is not None else 0))
        assert bool(running.ports["cnde_port"]) == bool(running.ports["servo_port"]) == (firmware == "3.9.6")
        model, release, core = link("GetSoftwareVersion")[1:]
        assert (model[:3], release) == ("FR3", f"v{firmware}")
        assert core != release  # as on the controller, whose core is numbered apart from the release
    finally:
        link.close()
        running.stop()


@pytest.mark.parametrize("firmware", ["3.5.0", "9.9.0", "9.9", "newest"])
def test_a_release_that_nobody_knows_is_refused(firmware):
    with pytest.raises(UserError, match=f"firmware={firmware}, expected a release from 3.7.6 to 3.9.7"):
        Running(firmware)


# ---- planned motion ----------------------------------------------------------------------------


def test_a_blocking_move_ends_where_it_was_asked_to(ready, running):
    goal = HOME + [10, 5, -5, 0, 3, -8]
    assert move_j(ready, goal) == 0
    np.testing.assert_allclose(running.controller.measured_deg(), goal, atol=0.01)


def test_a_non_blocking_move_is_queued_and_stop_motion_ends_it(ready, running):
    assert move_j(ready, HOME + 20, blend=0.0, percent=30) == 0
    wait_for(lambda: ready("GetRobotMotionDone") == [0, 0])
    assert ready("StopMotion") == 0
    wait_for(lambda: ready("GetRobotMotionDone") == [0, 1])
    assert np.abs(running.controller.measured_deg() - HOME - 20).max() > 5


def test_a_blocking_move_that_is_stopped_answers_14(ready, running):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(move_j(ready, HOME + 40, percent=20)))
    thread.start()
    wait_for(lambda: running.controller.drives.path_cycles)
    running.controller.stop_motion()
    thread.join(5)
    assert answers == [14]


def test_a_line_is_straight_and_keeps_its_orientation(ready, running):
    commanded = []
    saw = running.controller.monitor.record_command
    running.controller.monitor.record_command = lambda joints: (commanded.append(joints.copy()), saw(joints))
    begin = kinematics.forward(running.controller.drives.end_deg)
    pose = kinematics.pose_of(begin)
    pose[0], pose[2] = pose[0] + 60, pose[2] - 40
    assert move_l(ready, HOME, pose) == 0
    points = np.array([kinematics.forward(joints)[:3, 3] for joints in commanded])
    along = np.array([60, 0, -40]) / np.hypot(60, 40)
    way = points - begin[:3, 3]
    assert np.abs(way - np.outer(way @ along, along)).max() < 0.01  # mm
    end = kinematics.forward(commanded[-1])
    np.testing.assert_allclose(end[:3, :3], begin[:3, :3], atol=1e-5)
    np.testing.assert_allclose(way[-1], [60, 0, -40], atol=0.01)


def test_moves_are_refused_with_the_code_of_the_reason(ready, running):
    assert move_l(ready, HOME, [5000.0, 0, 0, 180, 0, 0]) == 112
    assert ready("GetInverseKin", 0, [5000.0, 0, 0, 180, 0, 0], -1) == [112, *[0] * 6]
    assert move_j(ready, [0, 0, 151, 0, 0, 0]) == 32
    assert ready("MoveL", [0.0] * 32) == 4
    assert ready("MoveJ", HOME.tolist(), ZEROS, 20, 0, 50.0, 0.0, 100.0, [0.0] * 4, -1.0, 0, ZEROS) == 37
    assert ready("MoveJ", HOME.tolist(), ZEROS, 0, 20, 50.0, 0.0, 100.0, [0.0] * 4, -1.0, 0, ZEROS) == 34
    running.controller.servo_start()
    assert move_j(ready, HOME) == 14
    running.controller.servo_end()
    running.controller.set_enabled(0)
    assert move_j(ready, HOME) == 101
    running.controller.set_enabled(1)
    running.controller.set_safety_stop(active=True)
    assert move_j(ready, HOME) == 99


# ---- tools, load, gripper ----------------------------------------------------------------------


def test_the_tool_moves_the_reported_pose_and_the_goal(ready, running):
    assert ready("SetToolCoord", 1, [0.0, 0.0, 150.0, 0.0, 0.0, 0.0], 0, 0, 1, 0) == 0
    flange = kinematics.forward(running.controller.measured_deg())
    pose = ready("GetActualTCPPose", 1)[1:]
    np.testing.assert_allclose(pose[:3], flange[:3, 3] + 150 * flange[:3, 2], atol=0.05)
    solved = ready("GetInverseKin", 0, pose, -1)
    np.testing.assert_allclose(solved[1:], HOME, atol=0.01)
    assert ready("SetToolCoord", 99, ZEROS, 0, 0, 1, 0) == 37


def test_load_levels_and_strategy_are_checked(ready):
    assert ready("SetLoadWeight", 0, 1.5) == 0
    assert ready("GetTargetPayload", 0) == [0, 1.5]
    assert ready("SetLoadWeight", 0, 9.0) == 4
    assert ready("SetAnticollision", 0, [3.0] * 6, 0) == 0
    assert ready("SetAnticollision", 0, [0.0] * 6, 0) == 187
    assert ready("SetAnticollision", 1, [55.0] * 6, 0) == 0
    assert ready("SetCollisionStrategy", 9, 1000, 150, 250, [10.0] * 6) == 4


def test_a_gripper_that_was_not_activated_answers_73(ready):
    move = (1, 30, 50, 50, 10000, 1, 0, 0.0, 0, 0)
    assert ready("MoveGripper", *move) == 73
    assert ready("ActGripper", 1, 1) == 0
    assert ready("MoveGripper", *move) == 0
    wait_for(lambda: ready("GetGripperMotionDone") == [0, 0, 1])


# ---- collisions and accidents ------------------------------------------------------------------


def test_an_arm_that_is_held_back_stops_with_a_collision(ready, running):
    wait_for(lambda: not running.controller.collision._settling)
    running.world.blocked = True
    assert move_j(ready, HOME + 30, percent=30) == 14
    assert running.controller.collided
    assert running.controller.main_code == 14
    assert ready("ResetAllError") == 0
    assert not running.controller.collided


def test_a_sensitive_level_sees_a_collision_sooner(running):
    watch = running.controller.collision
    assert watch.set_levels(0, [1] * 6) == 0
    sensitive = watch.allowed_deg.copy()
    watch.set_levels(0, [10] * 6)
    assert (watch.allowed_deg > 3 * sensitive).all()
    watch.set_strategy(1)
    watch._settling = 0
    assert not watch.update(HOME, HOME + 90)


def test_a_lost_power_answers_nobody_and_comes_back_in_manual_mode_with_the_drives_off(ready, running):
    impatient = RpcLink(running.address("rpc_port"), 0.3)
    running.emulator.injector.inject("power_loss")
    with pytest.raises(UserError, match="did not answer"):
        impatient("GetControllerIP")
    impatient.close()
    wait_for(lambda: not running.controller.enabled)
    running.emulator.injector.inject("end")
    assert ready("GetControllerIP") == [0, HOST]
    assert (running.controller.robot_mode, running.controller.enabled) == (1, False)


def test_a_script_plays_in_its_time_and_an_unknown_accident_is_named(tmp_path):
    script = tmp_path / "faults.jsonl"
    script.write_text('{"at_s": 0.2, "what": "emergency_stop"}\n\n{"at_s": 0.0, "what": "lost", "amount": 0.5}\n')
    assert read_script(script) == [ScheduledFault(0.0, "lost", 0.5), ScheduledFault(0.2, "emergency_stop")]
    running = Running(faults=str(script))
    try:
        wait_for(lambda: running.controller.emergency_stop)
        assert running.emulator.injector.amount("lost") == 0.5
    finally:
        running.stop()
    script.write_text(json.dumps({"at_s": 0, "what": "lots"}))
    with pytest.raises(UserError, match="did you mean 'lost'"):
        Running(faults=str(script))
    script.write_text("{")
    with pytest.raises(UserError, match="line 1"):
        Running(faults=str(script))
    script.write_text('{"at_s": 0, "what": "lost"}\n{"at_s": "x", "what": "lost"}')
    with pytest.raises(UserError, match="line 2 is not a fault: at_s='x', expected a number"):
        Running(faults=str(script))
    with pytest.raises(UserError, match="cannot be read"):
        Running(faults=str(tmp_path / "none"))


def test_a_drifting_clock_slows_the_cycle(running):
    running.emulator.injector.inject("drift", 100_000)
    wait_for(lambda: running.emulator.rate.period_s == pytest.approx(0.0088))


def test_a_slow_answer_comes_late_and_a_dead_one_not_at_all(running):
    link = RpcLink(running.address("rpc_port"), 5.0)
    running.emulator.injector.inject("slow_rpc", 0.3)
    begin_s = time.monotonic()
    assert link("GetControllerIP") == [0, HOST]
    assert time.monotonic() - begin_s >= 0.3
    running.emulator.injector.inject("end")
    for kind, message in (("dead_rpc", "does not answer"), ("garbled_rpc", "something other than XML-RPC")):
        running.emulator.injector.inject(kind, 1.0)
        with pytest.raises(UserError, match=message):
            link("GetControllerIP")
        running.emulator.injector.inject("end")
        assert link("GetControllerIP") == [0, HOST]
    link.close()


def test_ports_that_are_taken_are_one_error():
    taken = Running()
    try:
        free = dict.fromkeys((*PORTS, "text_port"), 0)
        config = EmulatorConfig(**{**free, "rpc_port": taken.ports["rpc_port"]})
        with pytest.raises(UserError, match="rpc_port=[0-9]+: cannot be served on 127.0.0.1 .*rpc_port=0 takes"):
            Emulator(config, type(taken.world)())
    finally:
        taken.stop()


@pytest.mark.parametrize("kind", [EmulatorConfig, RobotConnection])
def test_a_port_that_no_machine_has_is_one_error(kind):
    with pytest.raises(UserError, match="rpc_port=99999, expected a port, 0 to 65535"):
        kind(rpc_port=99999)


def test_common_getters_speak_the_controller_s_shapes(running):
    proxy = xmlrpc.client.ServerProxy(f"http://{HOST}:{running.ports['rpc_port']}/RPC2")
    assert proxy.GetRobotErrorCode() == [0, 0, 0]
    assert proxy.GetJointSoftLimitDeg(1)[1:3] == pytest.approx([-175, 175])
    assert proxy.GetActualJointPosDegree(1)[1:] == pytest.approx(HOME, abs=1e-4)
    assert proxy.SetSpeed(0) == 40
    assert proxy.SetRobotRealtimeStateSamplePeriod(16) == 0
    assert proxy.GetRobotRealtimeStateSamplePeriod() == [0, 16]
    assert len(proxy.GetForwardKin(HOME.tolist())) == 7
    proxy("close")()
