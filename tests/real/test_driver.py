"""The driver against the emulator, over sockets; and against things that are no controller."""

import socket
import threading
import time

import numpy as np
import pytest
from fr3 import FR3
from running import HOST, Running
from waiting import PATIENCE_S, wait_for

from real.control.servo_stream import ServoStream
from real.core.checks import report
from real.core.faults import RobotFault, RobotUnreachable
from real.emulator.method_table import Method
from real.emulator.state_server import CndeClient
from real.fairino.driver import FairinoDriver
from real.fairino.ports import Ports
from real.fairino.protocol import AUTOMATIC, MANUAL
from real.fairino.state_frame import encode
from real.fairino.state_link import StateLink
from real.fairino.state_ports import LegacyPort
from real.fairino.xmlrpc import RpcLink


def home_deg() -> list[float]:
    return np.rad2deg(FR3.home_rad).tolist()


def servo_j(running: Running, degrees: list[float], *tail):
    """A raw ServoJ, not checked by the driver."""
    link = RpcLink(running.address("rpc_port"), 5.0)
    try:
        return link("ServoJ", degrees, [0.0] * 4, 0.0, 0.0, 0.008, 0.0, 0.0, *tail)
    finally:
        link.close()


def test_state_and_release_are_read(driver):
    state, stamp_s = driver.state()
    np.testing.assert_allclose(state[:6], FR3.home_rad, atol=1e-6)
    assert state[6] == 1.0
    assert abs(time.monotonic() - stamp_s) < PATIENCE_S
    assert driver.model.startswith("FR3")
    assert driver.version == (3, 9, 6)


@pytest.mark.parametrize(
    ("release", "core", "version"),
    [("v3.8.2", "V3.8.12-QX", (3, 8, 2)), ("v3.9.2", "V3.9.22-QX", (3, 9, 2)), ("v3.9.7", "V3.9.33-QX", (3, 9, 7))],
)
def test_the_release_is_the_second_field_and_not_the_core(running, release, core, version):
    running.answer("GetSoftwareVersion", 0, [0, "FR3-V1-001(V6.0)", release, core])
    with running.driver() as driver:
        assert driver.version == version


@pytest.mark.parametrize("firmware", ["3.8.2", "3.8.5", "3.9.2", "3.9.6"])
def test_the_emulator_answers_a_core_that_differs_from_the_release(firmware):
    running = Running(firmware)
    try:
        link = RpcLink(running.address("rpc_port"), 5.0)
        code, _, release, core = link("GetSoftwareVersion")
        link.close()
    finally:
        running.stop()
    assert (code, release) == (0, f"v{firmware}")
    assert core.startswith("V3.") and core.endswith("-QX") and core != f"V{firmware}-QX"


def test_an_arm_that_was_moved_is_settled_once_the_stream_tells_of_it(driver, running):
    running.emulator.injector.inject("late", 0.1)
    driver.states.wait_newer(time.monotonic() + 0.15, PATIENCE_S)
    running.controller.place(1)  # 0.57 deg from where seed 0 begins; the stream tells so 0.1 s later
    driver.settle()
    np.testing.assert_allclose(driver.state()[0][:6], np.array(FR3.home_rad) + 0.01, atol=1e-6)


def test_servo_mode_is_refused_in_manual_mode_and_when_not_enabled(driver, running):
    with pytest.raises(RobotFault, match="manual mode"):
        driver.start_servo()
    running.controller.set_mode(0)
    wait_for(lambda: driver.controller_state().robot_mode == 0)
    with pytest.raises(RobotFault, match="not enabled") as refused:
        driver.start_servo()
    assert refused.value.code == 101
    assert not running.controller.in_servo


def test_power_on_is_read_back(driver):
    driver.power_on()
    driver.check_ready()
    assert driver.controller_state().enabled


def test_power_on_waits_out_the_manual_mode_that_follows_enabling(driver, running):
    running.controller.set_mode(0)
    running.controller.set_enabled(1)
    wait_for(lambda: driver.controller_state().enabled and driver.controller_state().robot_mode == 0)
    ready = threading.Event()

    def late(on):
        threading.Timer(0.1, lambda: (running.controller.set_enabled(on), ready.set())).start()
        return 0

    running.serve("RobotEnable", Method(1, late))  # which answers before it passes through manual mode
    driver.power_on()
    assert ready.is_set()
    driver.check_ready()


@pytest.mark.parametrize("code", [0, 14])
def test_power_on_ends_a_servo_session_that_reports_no_motion(driver, running, monkeypatch, code):
    monkeypatch.setattr(running.controller, "in_motion", lambda: False)
    running.controller.set_mode(0)
    running.controller.set_enabled(1)
    assert running.controller.servo_start() == 0
    running.serve("ServoMoveEnd", Method(0, lambda: running.controller.servo_end() or code))
    driver.power_on()
    assert not running.controller.in_servo


def test_a_stop_that_did_not_leave_was_sent_at_no_time(running):
    with running.driver() as driver:
        driver._stopper.connect()
        running.emulator.rpc.shutdown()
        running.emulator.rpc.server_close()
        driver._stopper.link.close()
        with pytest.raises(RobotUnreachable):
            driver.stop()
        assert driver.stop_sent_s == 0.0


@pytest.mark.parametrize(("firmware", "count"), [("V3.8.2", 7), ("V3.8.5", 8), ("V3.9.4", 8)])
def test_servo_j_has_the_arguments_of_the_release(firmware, count):
    running = Running(firmware)
    try:
        with running.driver() as driver:
            driver.power_on()
            present = driver.start_servo()
            driver.servo(present + 0.01)
            driver.stop()
        tails = {7: (), 8: (1,)}
        wrong = tails[15 - count]
        with pytest.raises(RobotFault, match="-502"):
            servo_j(running, home_deg(), *wrong)
    finally:
        running.stop()


def test_the_stream_follows_a_sine_and_begins_where_the_arm_is(driver, running):
    driver.power_on()
    stream = ServoStream(driver)
    stream.start()
    np.testing.assert_allclose(stream.commanded_rad, FR3.home_rad, atol=1e-6)
    apart, begin_s = [], time.monotonic()
    while (t := time.monotonic() - begin_s) < 1.0:
        stream.set_target(np.array(FR3.home_rad) + 0.1 * np.sin(2 * np.pi * 0.5 * t))
        time.sleep(0.05)
        apart.append(np.abs(driver.state()[0][:6] - stream.commanded_rad).max())
    stream.stop()
    assert stream.error is None
    # The median, for a loaded machine may hold the emulator up at any single moment.
    assert np.median(apart) < 0.02
    assert not running.controller.in_servo


def test_a_silent_policy_brings_the_stream_to_rest_and_the_emulator_holds_the_last_target(driver, running):
    driver.power_on()
    stream = ServoStream(driver)
    stream.start()
    stream.set_target(np.array(FR3.home_rad) + 0.04)
    wait_for(lambda: stream.sent > 100)
    rest = stream.commanded_rad
    wait_for(lambda: stream.sent > 110)
    np.testing.assert_array_equal(stream.commanded_rad, rest)
    assert running.controller.in_servo
    stream.stop()
    time.sleep(0.1)
    held = driver.state()[0][:6]
    np.testing.assert_allclose(held, rest, atol=1e-4)
    time.sleep(0.1)
    np.testing.assert_allclose(driver.state()[0][:6], held, atol=1e-6)


def test_an_over_step_latches_29_and_is_surfaced_and_not_cleared(running):
    with running.driver(servo="rpc") as driver:
        driver.power_on()
        driver.start_servo()
        assert servo_j(running, [home_deg()[0] + 2.0, *home_deg()[1:]], 0) == 29
        wait_for(lambda: driver.controller_state().faulted)
        with pytest.raises(RobotFault, match="main 29 sub 0"):
            driver.raise_fault()
        with pytest.raises(RobotFault, match="code 14"):
            driver.servo(np.array(FR3.home_rad))
        with pytest.raises(RobotFault):
            driver.power_on()
        assert running.controller.main_code == 29
        assert RpcLink(running.address("rpc_port"), 5.0)("GetActualJointPosDegree", 1) == [14, *[0] * 6]
        assert running.controller.reset_errors() == 0
        wait_for(lambda: not driver.controller_state().faulted)
        driver.power_on()
        driver.start_servo()


def test_the_soft_limits_latch_32_and_171(running):
    controller = running.controller
    controller.set_mode(0)
    controller.set_enabled(1)
    controller.servo_start()
    assert servo_j(running, [0.0, -60.0, 151.0, -120.0, -90.0, 0.0], 0) == 32
    assert (controller.main_code, controller.sub_code) == (1, 22)
    controller.reset_errors()
    controller.twin._world.command(np.deg2rad([0, 0, 151, 0, 0, 0]), 1.0)
    controller.twin._world.step(4)
    controller.drives.reset(controller.measured_deg())
    assert controller.servo_start() == 171


def test_the_driver_itself_sends_no_step_and_no_limit_fault(driver, running):
    driver.power_on()
    present = driver.start_servo()
    with pytest.raises(RobotFault, match="not sent") as refused:
        driver.servo(present + 0.03)
    assert refused.value.code == 29
    with pytest.raises(RobotFault, match="not sent"):
        driver.servo(np.deg2rad([0, -60, 151, -120, -90, 0]))
    with pytest.raises(RobotFault, match="not 6 finite"):
        driver.servo(np.full(6, np.nan))
    assert running.controller.main_code == 0


def test_the_emergency_stop_ends_the_stream(driver, running):
    driver.power_on()
    stream = ServoStream(driver)
    stream.start()
    running.controller.press_emergency_stop()
    wait_for(lambda: not stream.running)
    assert isinstance(stream.error, RobotFault)
    stream.stop()
    wait_for(lambda: driver.controller_state().emergency_stop)
    with pytest.raises(RobotFault, match="emergency stop is pressed"):
        driver.check_ready()


def test_a_safety_stop_is_99(driver, running):
    driver.power_on()
    running.controller.set_safety_stop(active=True)
    wait_for(lambda: driver.controller_state().safety_stop)
    with pytest.raises(RobotFault) as refused:
        driver.start_servo()
    assert refused.value.code == 99


def test_a_mute_state_stream_ends_the_servo_stream(driver, running):
    driver.power_on()
    stream = ServoStream(driver)
    stream.start()
    running.emulator.injector.inject("mute_state")
    wait_for(lambda: not stream.running)
    assert isinstance(stream.error, RobotUnreachable)
    wait_for(lambda: not running.controller.in_servo)
    running.emulator.injector.inject("end")
    wait_for(lambda: driver.states.age_s < 1.0)  # it reconnected by itself
    stream.stop()


def test_the_state_link_reconnects_after_a_hang_up(driver, running):
    before = driver.states.connections
    running.emulator.injector.inject("drop_state")
    wait_for(lambda: driver.states.connections > before and driver.states.age_s < 1.0)


def test_a_sudden_zero_is_refused(monkeypatch):
    monkeypatch.setattr("real.fairino.state_link.SILENCE_S", PATIENCE_S)  # or a busy machine loses the connection
    joints = [10.0, -80.0, 100.0, -110.0, -85.0, 15.0]
    with socket.create_server((HOST, 0)) as server:
        link = StateLink([LegacyPort(*server.getsockname())])
        client, _ = server.accept()
        client.sendall(encode({"joint_deg": joints}))
        wait_for(lambda: link.latest() is not None)
        client.sendall(encode({"joint_deg": [0, 0, 0, -110.0, -85.0, 15.0]}))
        wait_for(lambda: link.plausibility.refused_zeros == 1)
        assert link.latest().joint_deg[0] == 10.0
        client.sendall(encode({"joint_deg": [np.nan] * 6}))
        wait_for(lambda: link.plausibility.refused_zeros == 2)
        client.close()
        link.close()


def test_the_gripper_goes_by_its_own_worker_and_the_latest_target_wins(driver, running):
    driver.power_on()
    driver.gripper.activate()
    for opening in np.linspace(0.9, 0.2, 50):
        driver.gripper.move(opening)
    wait_for(lambda: driver.controller_state().gripper_percent == 20)
    assert driver.gripper.sent <= 50
    driver.gripper.move(0.205)
    driver.gripper.clear()
    driver.gripper.move(1.0)
    wait_for(lambda: driver.controller_state().gripper_percent == 100)


def test_after_a_stop_no_finger_moves_until_it_is_told_again(driver, running):
    driver.power_on()
    driver.gripper.activate()
    begun, go_on, moves = threading.Event(), threading.Event(), []

    def slow(*call):
        moves.append(call[1])
        begun.set()
        assert go_on.wait(10)
        return 0

    running.serve("MoveGripper", Method(10, slow))
    driver.gripper.move(0.5)
    assert begun.wait(10)
    driver.gripper.move(0.0)  # waits for the worker, which is in an earlier call
    driver.stop()
    go_on.set()
    wait_for(lambda: driver.gripper.sent == 1)
    time.sleep(0.1)
    assert moves == [50]
    driver.gripper.move(0.0)
    wait_for(lambda: moves == [50, 0])


def test_ctrl_c_while_servo_mode_begins_leaves_it(driver, running, monkeypatch):
    driver.power_on()
    stream = ServoStream(driver)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(driver.states, "wait_newer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        stream.start()
    assert not running.controller.in_servo
    assert stream.stop_failure  # what may not have left is repeated in the end
    stream.stop_again()
    assert stream.stop_failure == ""


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("GetSoftwareVersion", [0, "FR3", "V3.9.6"]),
        ("GetActualJointPosDegree", [0, 1.0]),
        ("GetActualJointPosDegree", [0]),
    ],
)
def test_an_answer_with_too_few_values_is_one_error(running, method, answer):
    arity = {"GetSoftwareVersion": 0, "GetActualJointPosDegree": 1}[method]
    running.answer(method, arity, answer)
    with (
        pytest.raises(RobotFault, match=rf"{method} answered .*, expected a code and \d values"),
        running.driver() as one,
    ):
        one.settle()


def test_a_gripper_fault_is_surfaced(driver):
    driver.power_on()
    driver.gripper.move(0.5)  # never activated
    wait_for(lambda: driver.gripper._error is not None)
    with pytest.raises(RobotFault, match="gripper motion fault"):
        driver.raise_fault()


def test_an_unknown_method_and_introspection_answer_506(running):
    link = RpcLink(running.address("rpc_port"), 5.0)
    for method in ("NoSuchMethod", "system.listMethods"):
        with pytest.raises(RobotFault, match="-506"):
            link(method)
    link.close()


def test_servo_j_without_servo_mode_blocks_and_then_fails(driver, running):
    driver.power_on()
    running.controller.servo_j_block_s = 0.2
    assert servo_j(running, home_deg(), 0) == 14


def test_nobody_listening_is_one_error():
    with socket.socket() as bound:  # not listening, and nobody else's
        bound.bind((HOST, 0))
        with pytest.raises(RobotUnreachable, match="does not answer"):
            FairinoDriver(HOST, Ports(rpc=bound.getsockname()[1]))


def test_a_hung_controller_is_one_error_within_the_deadline():
    with socket.create_server((HOST, 0)) as server:
        begin_s = time.monotonic()
        with pytest.raises(RobotUnreachable, match="did not answer GetControllerIP within"):
            FairinoDriver(HOST, Ports(rpc=server.getsockname()[1]), deadline_s=0.3)
        assert time.monotonic() - begin_s < PATIENCE_S


def test_no_state_stream_is_one_error(running, monkeypatch):
    monkeypatch.setattr("real.fairino.driver.CONNECT_S", 0.3)
    with socket.create_server((HOST, 0)) as silent, pytest.raises(RobotUnreachable, match="no state"):
        FairinoDriver(HOST, Ports(running.ports["rpc_port"], silent.getsockname()[1], cnde=0))


def test_zeros_in_the_state_stream_are_named_as_the_cause(driver, running, monkeypatch):
    driver.power_on()
    monkeypatch.setattr("real.fairino.driver.MAX_STATE_AGE_S", 0.1)
    running.emulator.injector.inject("zeros", 1.0)
    wait_for(lambda: driver.states.age_s > 0.3)
    with pytest.raises(RobotUnreachable, match="frames since then were rejected: joint angles jump to zero"):
        driver.controller_state()
    running.emulator.injector.inject("end")
    wait_for(lambda: driver.states.rejection == "")


def test_a_controller_that_repeats_itself_is_named_as_the_cause(driver, monkeypatch):
    monkeypatch.setattr("real.fairino.driver.MAX_STATE_AGE_S", 0.1)
    sent, frame = [], CndeClient.frame

    def stuck(client: CndeClient, values: dict) -> bytes:
        sent.append(frame(client, values))
        return sent[0]

    with monkeypatch.context() as patched:
        patched.setattr(CndeClient, "frame", stuck)
        wait_for(lambda: driver.states.age_s > 0.3)
        with pytest.raises(RobotUnreachable, match=r"s old, limit 0\.1 s; the \d+ frames since then repeat it"):
            driver.controller_state()
    wait_for(lambda: driver.states.rejection == "")


def test_the_speed_is_set_in_the_mode_that_the_arm_is_streamed_in(driver, running):
    """Enabling passes through manual mode for a moment, and SetSpeed acts on the present mode."""
    driver.power_on(10)
    assert running.controller.speeds_percent == {MANUAL: 100, AUTOMATIC: 10}


def test_a_payload_that_is_not_the_grippers_is_for_a_person_to_set(driver, running):
    driver.power_on()
    assert "payload        ok " in report(driver.checks())
    running.serve("GetTargetPayload", Method(1, lambda flag: [0.0], 1))
    (line,) = (line for line in report(driver.checks()).splitlines() if "payload  " in line)
    assert "CHECK   0.00 kg, the gripper weighs 1.00 kg (enter payload and tool on the controller's web page" in line
