"""The arm is stopped when nobody else does it: by a connection and a thread of their own."""

import threading
import types

import numpy as np
import pytest
from listening import reacting
from running import Running
from waiting import PATIENCE_S, wait_for

from real.control import watchdog
from real.control.servo_stream import ServoStream
from real.core.faults import RobotFault, RobotUnreachable
from real.fairino.driver import MAX_STATE_AGE_S as NOTICED_S
from real.fairino.servo_link import UdpServo
from real.fairino.stop_link import FIRST_DEADLINE_S
from sim.core.errors import UserError


@pytest.fixture
def stream(driver):
    driver.power_on()
    stream = ServoStream(driver)
    stream.start()
    wait_for(lambda: stream.sent > 5)
    yield stream
    stream.stop()


def test_a_servo_thread_that_hangs_is_stopped_past_it(stream, driver, running, monkeypatch):
    monkeypatch.setattr("real.control.watchdog.MAX_BEAT_AGE_S", 0.1)
    answered = threading.Event()
    monkeypatch.setattr(driver.servo_link, "send", lambda joint_deg: answered.wait(2 * PATIENCE_S))
    wait_for(lambda: not running.controller.in_servo)  # while the call still hangs
    answered.set()
    wait_for(lambda: not stream.running)
    assert isinstance(stream.error, RobotUnreachable)
    assert "has been silent" in str(stream.error)


def test_a_network_that_dies_is_warned_of_at_the_first_stop_without_an_answer(stream, driver, running):
    deadlines_s = []  # of the call that was not answered when the warning came

    def note(message: str) -> None:
        if "press the emergency stop" in message:
            deadlines_s.append(driver._stopper.link.deadline_s)

    with reacting(note):
        running.emulator.injector.inject("power_loss")
        wait_for(lambda: stream.watchdog.tripped.is_set())
        wait_for(lambda: deadlines_s)
    assert stream.running  # the stop is still being repeated
    assert deadlines_s == [FIRST_DEADLINE_S]
    assert NOTICED_S + FIRST_DEADLINE_S < 1.0
    running.emulator.injector.inject("end")


def test_halt_stops_at_once_and_says_why(stream, driver, running):
    stream.set_target(stream.commanded_rad + 0.04)
    stream.halt("the operator's key")
    wait_for(lambda: not stream.running)
    assert str(stream.error) == "the operator's key"
    assert not running.controller.in_servo
    assert 0 < driver.stop_sent_s - stream.watchdog.due_s < PATIENCE_S


@pytest.mark.parametrize(
    ("accident", "message", "code"),
    [
        ("disable", "drives went off", 101),
        ("collision", "collision", 0),
        ("safety_stop", "safety stop", 99),
        ("emergency_stop", "emergency stop is pressed", 0),
    ],
)
def test_what_happens_to_the_controller_ends_the_stream(stream, running, accident, message, code):
    running.emulator.injector.inject(accident)
    wait_for(lambda: not stream.running)
    assert isinstance(stream.error, RobotFault)
    assert message in str(stream.error)
    assert stream.error.code == code
    assert not running.controller.in_servo


def test_manual_mode_ends_the_stream(stream, running):
    running.controller.set_mode(1)
    wait_for(lambda: not stream.running)
    assert "left automatic mode" in str(stream.error)


def test_a_dead_line_is_tried_again_until_the_stop_is_answered(stream, driver, running):
    answered = iter((False, False, True, True))
    handle = running.emulator.rpc.faults.occurs
    running.emulator.rpc.faults.occurs = lambda kind: kind == "garbled_rpc" and not next(answered)
    stream.halt("try")
    wait_for(lambda: not stream.running)
    running.emulator.rpc.faults.occurs = handle
    assert not running.controller.in_servo
    assert not getattr(stream.error, "__notes__", [])


def test_a_stop_that_nobody_answers_is_told_beside_the_reason(running, monkeypatch):
    with running.driver() as driver:
        driver.power_on()
        stream = ServoStream(driver)
        stream.start()
        monkeypatch.setattr(driver._stopper, "_deadline_s", 0.2)
        running.emulator.injector.inject("slow_rpc", 0.6)
        stream.halt("try")
        wait_for(lambda: not stream.running)
        assert "the stop itself failed" in stream.error.__notes__[0]
        assert "did not answer StopMotion" in stream.stop_failure
        running.emulator.injector.inject("end")
        monkeypatch.setattr(driver._stopper, "_deadline_s", PATIENCE_S)
        stream.stop_again()
        assert not stream.stop_failure and not running.controller.in_servo


def test_no_servo_j_leaves_after_a_stop(stream, driver):
    stream.halt("try")
    wait_for(lambda: not stream.running)
    with pytest.raises(RobotFault, match="after a stop"):
        driver.servo(stream.commanded_rad)


# ---- UDP ---------------------------------------------------------------------------------------


def test_udp_is_chosen_by_release_and_rpc_can_be_asked_for(running):
    with running.driver() as driver:
        assert driver.servo_link.name == "UDP 20007"
        assert "CNDE" in driver.states.protocol
    with running.driver(servo="rpc") as driver:
        assert driver.servo_link.name == "XML-RPC 20003"
    old = Running("3.8.5")
    try:
        with old.driver() as driver:
            assert driver.servo_link.name == "XML-RPC 20003"
            assert "20004" in driver.states.protocol
        with pytest.raises(UserError, match="takes ServoJ by XML-RPC only"):
            old.driver(servo="udp")
    finally:
        old.stop()
    with pytest.raises(UserError, match="did you mean 'udp'"):
        old.driver(servo="udpp")


def test_datagrams_that_do_not_arrive_end_the_stream(stream, running, monkeypatch):
    monkeypatch.setattr("real.fairino.servo_link.COUNTED_S", 0.2)
    running.emulator.injector.inject("lost_udp", 1.0)
    wait_for(lambda: not stream.running)
    assert "does not arrive" in str(stream.error)
    assert not running.controller.in_servo


def test_a_controller_that_reads_only_braces_gets_braces(driver, running):
    serve = running.emulator.udp._serve
    running.emulator.udp._serve = lambda data, client: serve(data, client) if b"{" in data else None
    driver.power_on()
    present = driver.start_servo()
    assert isinstance(driver.servo_link, UdpServo)
    driver.servo(present + 0.005)
    wait_for(lambda: np.abs(driver.state()[0][:6] - present - 0.005).max() < 1e-4)
    driver.stop()


def test_a_controller_that_takes_no_datagrams_is_refused_before_motion(driver, running, monkeypatch):
    monkeypatch.setattr("real.fairino.servo_link.COUNTED_S", 0.2)
    running.emulator.injector.inject("lost_udp", 1.0)
    driver.power_on()
    with pytest.raises(RobotFault, match="robot.servo=rpc"):
        driver.start_servo()
    assert not running.controller.in_servo


def test_a_silence_is_noticed_by_the_servo_thread_too(monkeypatch):
    """After Ctrl-Z and `fg`, or in a computer that was suspended, it may wake before the watchdog."""
    now_s, stops = [100.0], []
    monkeypatch.setattr(watchdog, "CHECK_S", 60.0)
    monkeypatch.setattr(watchdog, "MAX_BEAT_AGE_S", 0.25)
    monkeypatch.setattr(watchdog.time, "clock_gettime", lambda clock: now_s[0])
    driver = types.SimpleNamespace(watch=lambda on_fault: None, state=lambda: None, stop=lambda: stops.append("stop"))
    watching = watchdog.Watchdog(driver)
    watching.arm()
    now_s[0] += 0.2
    watching.beat()
    assert watching.reason is None
    now_s[0] += 0.3
    watching.beat()
    assert "has been silent for 0.30 s" in str(watching.reason)
    watching.disarm()
    assert stops == ["stop"]
