"""What threads of the emulator and of a driver share: who changes it waits for who reads it; no thread ends unseen."""

import contextlib
import gc
import socket
import struct
import threading
import time
import types
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import pytest
from fr3 import FR3
from running import Running
from waiting import PATIENCE_S, wait_for

from real.cameras.camera import GrabbedCamera
from real.control.servo_stream import ServoStream
from real.control.watchdog import Watchdog
from real.core.faults import RobotFault, RobotUnreachable
from real.emulator.emulator import _watch_stdin
from real.emulator.fault_injection import FaultInjector, RandomFaults
from real.emulator.lossy_line import LossyLine
from real.emulator.motion_commands import MotionCommands, Target
from real.emulator.state_server import StateClient, StateServer
from real.fairino.state_frame import FRAME_BYTES

MEANWHILE_S = 0.2  # longer than a call needs that does not wait
HOME = np.rad2deg(FR3.home_rad)
ZEROS = [0.0] * 6


@contextlib.contextmanager
def called_while_held(lock, call: Callable) -> Iterator[list]:
    """`call` in another thread while `lock` is held during the block; yields what it returned, at the end surely."""
    answers: list = []
    thread = threading.Thread(target=lambda: answers.append(call()), daemon=True)
    with lock:
        thread.start()
        thread.join(MEANWHILE_S)
        yield answers
    thread.join(PATIENCE_S)
    assert answers


# ---- the emulator --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("SetDO", (3, 1, 0, 0)), ("SetToolDO", (1, 1, 0, 0)), ("SetAO", (0, 1.0, 0)), ("ActGripper", (1, 1)),
        ("SetGripperConfig", (4, 0, 0, 1)), ("PauseMotion", ()), ("ResumeMotion", ()), ("ComputeTcp4", ()),
        ("SetTcp4RefPoint", (1,)), ("SetToolCoord", (1, ZEROS, 0, 0, 1, 0)), ("GetForwardKin", (ZEROS,)),
        ("GetTCPOffset", (1,)), ("GetJointSoftLimitDeg", (1,)),
    ],
)  # fmt: skip
def test_a_call_waits_for_the_thread_that_holds_the_controller(running, method, arguments):
    call = running.emulator.rpc.instance._dispatch
    with called_while_held(running.controller.lock, lambda: call(method, arguments)) as answers:
        assert not answers


def test_a_speed_is_added_to_the_target_that_is_the_last_when_it_is_taken(running):
    controller = running.controller
    controller.set_mode(0)
    controller.set_enabled(1)
    assert controller.servo_start() == 0
    with called_while_held(controller.lock, lambda: controller.servo_speed([10.0] * 6, 0.008)):
        controller.drives.servo(HOME + 1)
    np.testing.assert_allclose(controller.drives.goal_deg, HOME + 1 + 0.08, atol=1e-4)


def test_errors_that_are_reset_while_a_collision_is_found_stay_reset(monkeypatch):
    running = Running()
    running.stop()
    controller = running.controller
    resetting = threading.Thread(target=controller.reset_errors, daemon=True)

    def found(*_: object) -> bool:
        resetting.start()
        resetting.join(MEANWHILE_S)
        return True

    monkeypatch.setattr(controller.collision, "update", found)
    controller.tick()
    resetting.join(PATIENCE_S)
    assert (controller.main_code, controller.collided) == (0, False)


def test_a_motion_that_is_stopped_before_its_end_is_awaited_answers_14(running, monkeypatch):
    controller = running.controller
    controller.set_mode(0)
    controller.set_enabled(1)
    motions = MotionCommands(controller)
    finish = motions._finish

    def stopped_first(*how) -> int:
        controller.stop_motion()
        return finish(*how)

    monkeypatch.setattr(motions, "_finish", stopped_first)
    assert motions.move_j((HOME + [20, 0, 0, 0, 0, 0]).tolist(), Target(0, 0, 50.0, -1.0)) == 14


def test_faults_are_not_counted_while_they_are_read():
    faults = RandomFaults(lambda kind: 1.0, np.random.default_rng(0))
    faults.count("lost")
    with called_while_held(faults._lock, faults.counts) as answers:
        assert not answers
    assert answers == [{"lost": 1}]


def state_server() -> StateServer:
    def new_client(connection: socket.socket, line: LossyLine) -> StateClient:
        return StateClient(connection, line, FRAME_BYTES)

    return StateServer(("127.0.0.1", 0), 0.008, FaultInjector({}), new_client)


def test_clients_dropped_while_a_frame_is_made_do_not_end_the_cycle():
    server = state_server()
    dropping = threading.Thread(target=server.drop_clients, daemon=True)

    def read_values() -> dict:
        dropping.start()
        dropping.join(MEANWHILE_S)
        return {"joint_deg": np.zeros(6)}

    with contextlib.closing(server), socket.create_connection(server.address, PATIENCE_S) as client:
        while not dropping.ident:  # until the connection has been accepted
            server.push(read_values)
            time.sleep(0.001)
        dropping.join(PATIENCE_S)
        received = b"".join(iter(lambda: client.recv(4096), b""))
        assert len(received) == FRAME_BYTES  # the frame under way came whole, then the stream ended


def test_a_client_that_is_gone_before_it_is_accepted_does_not_end_the_cycle(monkeypatch):
    def aborted() -> None:
        raise ConnectionAbortedError

    server = state_server()
    server._listener.close()
    monkeypatch.setattr(server, "_listener", types.SimpleNamespace(accept=aborted, close=lambda: None))
    server.push(dict)
    server.close()


def test_the_emulator_ends_with_a_standard_input_that_is_reset(monkeypatch):
    ending = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        parent = socket.create_connection(server.getsockname())
        standard_input, _ = server.accept()
        parent.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        parent.close()  # at once, with a reset
        with contextlib.closing(standard_input):
            monkeypatch.setattr("sys.stdin", standard_input)
            _watch_stdin(ending)
    assert ending.is_set()


# ---- a driver ------------------------------------------------------------------------------------


class Unwatchable:
    """A driver that answers with what no driver should raise."""

    def __init__(self, stop: Callable[[], None]):
        self.stop = stop

    def watch(self, on_fault: object) -> None:
        pass

    def state(self) -> None:
        raise ZeroDivisionError("no period")


def test_an_error_of_any_kind_ends_in_a_stop_and_not_in_nobody_who_watches():
    stopped = threading.Event()
    watchdog = Watchdog(cast(Any, Unwatchable(stopped.set)))
    watchdog.arm()
    assert stopped.wait(PATIENCE_S)
    watchdog.disarm()
    assert (str(watchdog.reason), watchdog.stop_failure) == ("no period", "")


def test_to_arm_takes_no_lock_that_a_signal_would_wait_for():
    """A signal's handler runs inside the main thread, which arms: it would wait for itself."""
    watchdog = Watchdog(cast(Any, types.SimpleNamespace(watch=lambda on_fault: None, state=lambda: None)))
    with called_while_held(cast(Any, watchdog.tripped)._cond, watchdog.arm) as answers:
        assert answers
    watchdog.disarm()


def test_a_stop_that_fails_for_any_reason_is_told():
    def fail() -> None:
        raise RuntimeError("a socket of somebody else's")

    watchdog = Watchdog(cast(Any, Unwatchable(fail)))
    watchdog.arm()
    wait_for(lambda: "socket" in watchdog.stop_failure)
    watchdog.disarm()
    assert getattr(watchdog.reason, "__notes__", []) == ["and the stop itself failed: a socket of somebody else's"]


@pytest.fixture
def stream(driver):
    driver.power_on()
    stream = ServoStream(driver)
    stream.start()
    yield stream
    stream.stop()


def test_a_reason_to_stop_that_comes_when_the_watchdog_has_ended_still_stops_the_arm(stream, running, monkeypatch):
    disarm = stream.watchdog.disarm

    def overtaken() -> None:
        disarm()
        stream.watchdog.trip(RobotFault("the operator's key"))

    monkeypatch.setattr(stream.watchdog, "disarm", overtaken)
    stream.stop()
    assert not running.controller.in_servo
    assert (str(stream.error), stream.stop_failure) == ("the operator's key", "")


def test_a_collection_of_garbage_leaves_out_what_was_there_before_the_stream(stream):
    wait_for(lambda: gc.get_freeze_count() > len(gc.get_objects()))
    stream.stop()
    assert not gc.get_freeze_count()


def test_no_stream_begins_while_the_last_one_is_still_being_stopped(stream, driver, monkeypatch):
    monkeypatch.setattr("real.control.servo_stream.END_S", -0.9)
    stop, answered = driver.stop, threading.Event()

    def slow() -> None:
        assert answered.wait(PATIENCE_S)
        stop()

    monkeypatch.setattr(driver, "stop", slow)
    stream.stop()
    with pytest.raises(RobotFault, match="has not ended"):
        stream.start()
    answered.set()
    wait_for(lambda: not stream.running)
    assert not stream.stop_failure


def test_a_halt_between_two_episodes_holds_for_the_next(running):
    with running.env() as env:
        env.reset(0)
        env.rest()
        env.halt("the operator's stop key")
        with pytest.raises(RobotFault, match="the operator's stop key"):
            env.reset(1)


def test_a_halt_that_ended_an_episode_does_not_end_the_next(running):
    with running.env() as env:
        env.reset(0)
        env.halt("the operator's stop key")
        assert env.apply(env.observe().state).truncated
        assert str(env.fault) == "the operator's stop key"
        env.reset(1)
        assert env.fault is None


def test_a_camera_whose_library_fails_says_why(monkeypatch):
    monkeypatch.setattr("real.cameras.camera.FIRST_FRAME_S", 0.05)

    def grab() -> None:
        raise RuntimeError("the device was reset")

    released = threading.Event()
    camera = GrabbedCamera("front", grab, released.set)
    assert released.wait(PATIENCE_S)
    with pytest.raises(RobotUnreachable, match=r"no image within 0.05 s \(RuntimeError: the device was reset\)"):
        camera.latest()
    camera.close()
