"""Wrong arguments to the emulator: each is answered by a code or one line, and everything else goes on."""

import contextlib
import json
import socket
import types
from typing import cast

import pytest
from fr3 import FR3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from running import HOST, Running
from waiting import wait_for

from real.core.faults import RobotFault
from real.core.json_lines import JsonLineClient
from real.emulator.bench_server import CameraRenderer
from real.emulator.emulator import EmulatorConfig
from real.emulator.fault_injection import LASTING
from real.emulator.twin import Twin
from real.fairino import text_frames
from real.fairino.xmlrpc import RpcLink
from real.workcell.episode_setup import EmulatedBench
from sim.core.errors import UserError


@pytest.fixture(scope="module")
def emulator():
    running = Running()
    running.controller.servo_j_block_s = 0.0
    yield running
    running.stop()


@pytest.fixture(scope="module")
def link(emulator):
    connection = RpcLink(emulator.address("rpc_port"), 20.0)
    yield connection
    connection.close()


def is_alive(emulator: Running) -> None:
    """The cycle runs and every port answers."""
    cycles = emulator.controller.monitor.commands
    wait_for(lambda: emulator.controller.monitor.commands > cycles)
    bench = EmulatedBench(emulator.address("bench_port"))
    assert bench.request("monitor")["commands"] > cycles
    bench.close()
    link = RpcLink(emulator.address("rpc_port"), 5.0)
    assert link("GetControllerIP") == [0, HOST]
    link.close()
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as udp:
        udp.settimeout(5.0)
        udp.sendto(text_frames.encode(7, text_frames.SERVO_END, "ServoMoveEnd()"), emulator.address("servo_port"))
        (reply,) = text_frames.decode(udp.recv(4096))
        assert (reply.count, reply.content) == (7, "0")


ARGUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31 - 1) | st.floats() | st.text("abc", max_size=3),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=2),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_arguments_are_answered_by_a_code(emulator, link, data):
    table = emulator.emulator.rpc.instance._table
    waits = {name for name in table if name.startswith("Wait")}
    name = data.draw(st.sampled_from(sorted(set(table) - waits - {"MoveGripper"})))
    entry = table[name]
    arguments = [data.draw(ARGUMENTS) for _ in range(entry.arguments)]
    answer = link(name, *arguments)
    code = answer[0] if isinstance(answer, list) else answer
    absent = code == -1 and name.endswith("Download")  # so a file that is not there is answered for
    assert isinstance(code, int) and (code >= 0 or absent)
    if isinstance(answer, list):
        assert len(answer) == 1 + entry.values
    emulator.controller.stop_motion()


def test_after_any_arguments_everything_is_alive(emulator):
    is_alive(emulator)


def test_a_gripper_that_does_not_exist_is_refused_while_the_state_is_read(running):
    with running.driver() as driver:
        link = RpcLink(running.address("rpc_port"), 5.0)
        assert [link("ActGripper", index, 1) for index in (0, 9, 20, -1, 2**31 - 1)] == [4] * 5
        assert link("ActGripper", 8, 1) == 0
        wait_for(lambda: driver.controller_state().gripper_active == 1 << 8)
        link.close()
    is_alive(running)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "0x10", "", "{}"])
@pytest.mark.parametrize("position", [0, 12, 15])
def test_a_servo_datagram_with_a_wrong_number_is_answered_by_a_code(emulator, value, position):
    values = ["0.0000"] * 16
    values[12], values[15] = "0.0080", "1"
    values[position] = value
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as udp:
        udp.settimeout(5.0)
        content = f"ServoJ({','.join(values)})"
        udp.sendto(text_frames.encode(1, text_frames.SERVO_J, content), emulator.address("servo_port"))
        (reply,) = text_frames.decode(udp.recv(4096))
    assert reply.content in ("3", "4")
    assert emulator.controller.servo_calls == 0


def test_a_count_that_is_no_number_does_not_end_the_servo_port(running):
    link = RpcLink(running.address("rpc_port"), 5.0)
    running.controller.set_mode(0)
    running.controller.set_enabled(1)
    joints = running.controller.measured_deg().tolist()
    assert link("ServoMoveStart") == 0
    assert link("ServoJ", joints, [0.0] * 4, 0.0, 0.0, 0.008, 0.0, 0.0, "x") == 4
    link.close()
    datagram = text_frames.encode(1, text_frames.SERVO_J, text_frames.servo_j("flat", joints, 0.008, 1))
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as udp:
        udp.settimeout(5.0)
        udp.sendto(datagram, running.address("servo_port"))
        (reply,) = text_frames.decode(udp.recv(4096))
    assert reply.content == "0"


@pytest.mark.parametrize("amount", ["x", [1], {}, True, -1e6, float("nan"), float("inf")])
@pytest.mark.parametrize("kind", sorted(LASTING))
def test_a_fault_with_a_wrong_amount_is_one_line(emulator, kind, amount):
    bench = EmulatedBench(emulator.address("bench_port"))
    with pytest.raises(UserError, match=f"{kind}: amount=") as refused:
        bench.inject(kind, amount)
    assert "\n" not in str(refused.value)
    bench.close()


@pytest.mark.parametrize(
    "request_line",
    [
        b"[]", b"1", b"null", b'"reset"', b"{", b"{}", b'{"do": 1}', b'{"do": []}', b'{"do": "reset"}',
        b'{"do": "reset", "seed": -1}', b'{"do": "reset", "seed": 1.5}', b'{"do": "reset", "seed": "x"}',
        b'{"do": "reset", "seed": 1e400}', b'{"do": "inject"}', b'{"do": "inject", "what": {}}',
        b'{"do": "inject", "what": "lost", "for_s": "x"}', b'{"do": "inject", "what": "lost", "for_s": -1}',
        b'{"do": "guide"}', b'{"do": "guide", "joint_deg": [1, 2]}', b'{"do": "guide", "joint_deg": "x"}',
        b"[" * 5000, b"\xff\xfe",
    ],
)  # fmt: skip
def test_a_wrong_request_to_the_bench_is_answered_by_one_line(emulator, request_line):
    with socket.create_connection(emulator.address("bench_port"), 5.0) as connection:
        stream = connection.makefile("rwb")
        for line in (request_line, b'{"do": "monitor"}'):
            stream.write(line + b"\n")
            stream.flush()
            answer = json.loads(stream.readline())
            assert ("error" in answer) == (line == request_line)


def test_after_all_of_it_everything_is_alive(emulator):
    is_alive(emulator)


def test_queries_answer_14_and_zeros_while_faulted(running):
    link = RpcLink(running.address("rpc_port"), 5.0)
    running.controller.collide()
    table = running.emulator.rpc.instance._table
    refused = {name: link(name, *[ZERO[name]] * table[name].arguments) for name in ZERO}
    assert refused == {name: [14, *[0] * table[name].values] for name in ZERO}
    with pytest.raises(RobotFault, match="code 14"):
        link.query("GetActualJointPosDegree", 1)
    assert link("GetRobotErrorCode") == [0, 14, 0]
    link.close()


ZERO = {
    "GetActualJointPosDegree": 1, "GetActualJointPosRadian": 1, "GetActualTCPPose": 1, "GetActualToolFlangePose": 1,
    "GetForwardKin": [0.0] * 6, "GetJointSoftLimitDeg": 1, "GetTCPOffset": 1, "GetWObjOffset": 1,
    "GetTargetPayload": 1, "GetTargetPayloadCog": 1, "GetGripperMotionDone": 0,
}  # fmt: skip


def test_a_machine_that_cannot_draw_is_told_in_one_line_before_anything_is_served():
    def render(camera: str, *, depth: bool) -> None:
        raise UserError("no EGL library")

    twin = types.SimpleNamespace(robot=FR3, render=render, close=lambda: None)
    with pytest.raises(UserError, match="^no EGL library$"):
        CameraRenderer(cast(Twin, twin))


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "192.168.58.2", "no-such-host.invalid"])
def test_a_host_that_other_machines_reach_is_refused(host):
    with pytest.raises(UserError, match=f"host={host}: .*expected 127"):
        EmulatorConfig(host=host)


@pytest.mark.parametrize("host", ["::1", "::ffff:127.0.0.1"])
def test_an_address_of_the_other_kind_is_told_as_such(host):
    with pytest.raises(UserError, match=f"host={host}: the emulator serves IPv4"):
        EmulatorConfig(host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.5", "localhost"])
def test_every_address_of_the_loopback_is_accepted(host):
    EmulatorConfig(host=host)


def test_a_client_that_asks_for_something_unknown_names_the_choices(emulator):
    bench = JsonLineClient("bench", emulator.address("bench_port"), 5.0)
    with pytest.raises(UserError, match="did you mean 'reset'"):
        bench.request({"do": "rest"})
    bench.close()
