"""A client that behaves as the vendor's Python SDKs do, weaknesses included, typed from their wire.

They take one read for one frame, compare the whole byte sum with 16 bits, want the legacy frame two
bytes longer than their struct, and give up on the first word that is not as expected.
"""

import math
import socket
import struct
import time
import xmlrpc.client

import numpy as np
import pytest
from fr3 import FR3
from running import HOST, Running
from waiting import PATIENCE_S, wait_for

from real.fairino import cnde

STRUCT_BYTES = {"3.8.2": 952, "3.8.5": 958, "3.9.0": 1236}  # of SDK 2.1.2, 2.1.5, 2.2.0
JOINTS_AT = 16
HOME = np.rad2deg(FR3.home_rad)


class CndeClient:
    """SDK 2.2.5 and later: one recv is one frame, or it is lost."""

    def __init__(self, port: int):
        self.socket = socket.create_connection((HOST, port), PATIENCE_S)
        config = struct.pack("<HBBH", 0x5A5A, 0, 1, 0)[:4]
        names = ",".join(cnde.DEFAULT_RECIPE).encode()
        data = struct.pack("<H", 8) + names
        self.socket.sendall(config + struct.pack("<H", len(data)) + data + b"\xa5\xa5")
        assert self.message()[0] == 0
        self.socket.sendall(b"\x5a\x5a\x01\x02\x00\x00\xa5\xa5")
        self.state()  # or the acknowledgement before it

    def message(self) -> bytes:
        kind, data = self.frame() or (0, b"")
        assert kind == 6
        return data

    def frame(self) -> tuple[int, bytes] | None:
        raw = self.socket.recv(4096)
        head, _, kind, length = struct.unpack("<HBBH", raw[:6])
        if head != 0x5A5A or length != len(raw) - 8 or raw[-2:] != b"\xa5\xa5":
            return None
        return kind, raw[6:-2]

    def state(self) -> bytes:
        """The next frame that was not lost for coming together with another."""
        while True:
            found = self.frame()
            if found and found[0] == 4:
                return found[1]


@pytest.fixture
def proxy(running):
    with xmlrpc.client.ServerProxy(f"http://{HOST}:{running.ports['rpc_port']}") as opened:
        assert opened.GetControllerIP() == [0, HOST]
        yield opened


def test_cnde_is_read_frame_by_read(running):
    client = CndeClient(running.ports["cnde_port"])
    begin_s = time.monotonic()
    for _ in range(50):
        data = client.state()
    joints = struct.unpack_from("<6d", data, 11)
    assert joints == pytest.approx(HOME, abs=1e-4)
    assert time.monotonic() - begin_s > 0.3
    client.socket.close()


def test_an_unknown_state_is_answered_with_not_found(running):
    with socket.create_connection((HOST, running.ports["cnde_port"]), PATIENCE_S) as client:
        client.sendall(cnde.frame(1, struct.pack("<H", 8) + b"robot_mode,no_such_state"))
        answer = client.recv(4096)
        assert answer[3] == 6 and answer[6] == 3
        assert b"NOT_FOUND" in answer


@pytest.mark.parametrize("firmware", STRUCT_BYTES)
def test_legacy_frames_suit_the_struct_of_their_release(firmware):
    running = Running(firmware)
    try:
        with socket.create_connection((HOST, running.ports["state_port"]), PATIENCE_S) as client:
            frame = b""
            while len(frame) < 5 or len(frame) < struct.unpack_from("<H", frame, 3)[0] + 7:
                frame += client.recv(4096)
        index = struct.unpack_from("<H", frame, 3)[0] + 5
        assert index >= STRUCT_BYTES[firmware]
        assert sum(frame[:index]) == struct.unpack_from("<H", frame, index)[0]  # not masked to 16 bits
        assert struct.unpack_from("<6d", frame, JOINTS_AT) == pytest.approx(HOME, abs=1e-4)
    finally:
        running.stop()


def test_move_j_move_l_and_servo_j_as_the_sdk_calls_them(running, proxy):
    assert proxy.Mode(0) == 0 and proxy.RobotEnable(1) == 0 and proxy.SetSpeed(50) == 0
    goal = [float(value) for value in HOME + [10, 5, -5, 0, 0, 5]]
    pose = proxy.GetForwardKin(goal)
    assert pose[0] == 0
    zeros, exaxis = [0.0] * 6, [0.0] * 4
    assert proxy.MoveJ(goal, pose[1:], 0, 0, 50.0, 0.0, 100.0, exaxis, -1.0, 0, zeros) == 0
    pose = proxy.GetActualTCPPose(1)[1:]
    pose[2] += 30.0
    joints = proxy.GetInverseKin(0, pose, -1)
    assert joints[0] == 0
    line = [*joints[1:], *pose, 0, 0, 20.0, 0.0, 100.0, -1.0, 0, *exaxis, 0, 0, *zeros, 100.0, 0]
    assert proxy.MoveL(line) == 0
    assert proxy.GetActualTCPPose(1)[3] == pytest.approx(pose[2], abs=0.1)
    begin = proxy.GetActualJointPosDegree(1)[1:]
    assert proxy.ServoMoveStart() == 0
    for k in range(60):
        target = [begin[0] + 2 * math.sin(k * 0.05), *begin[1:]]
        assert proxy.ServoJ(target, exaxis, 0.0, 0.0, 0.008, 0.0, 0.0, k) == 0
        time.sleep(0.004)
    assert proxy.ServoMoveEnd() == 0
    wait_for(lambda: abs(proxy.GetActualJointPosDegree(1)[1] - target[0]) < 0.05)


def test_servo_j_by_udp_as_the_sdk_sends_it(running, proxy):
    assert proxy.Mode(0) == 0 and proxy.RobotEnable(1) == 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE_S)

        def send(count, number, text):
            client.sendto(
                f"/f/bIII{count}III{number}III{len(text)}III{text}III/b/f".encode(), (HOST, running.ports["servo_port"])
            )
            return client.recvfrom(4096)[0].decode().split("III")

        assert send(0, 689, "ServoMoveStart()")[4] == "0"
        assert running.controller.in_servo
        flat = ",".join(f"{value:.4f}" for value in [HOME[0] + 0.5, *HOME[1:], 0, 0, 0, 0, 0, 0, 0.008, 0, 0])
        assert send(1, 376, f"ServoJ({flat},1)")[4] == "0"
        braces = ",".join(f"{value:.3f}" for value in [HOME[0] + 1.0, *HOME[1:]])
        assert send(2, 376, f"ServoJ({{{braces}}},{{0,0,0,0}},0,0,0.008,0,0,2)")[4] == "0"
        assert send(3, 376, "ServoJ(1,2)")[4] == "3"
        assert send(4, 690, "ServoMoveEnd()")[4] == "0"
    wait_for(lambda: abs(running.controller.measured_deg()[0] - HOME[0] - 1.0) < 0.01)
