"""A motion that blocks is answered after the state that shows its end, however slow the emulator's machine is.

The vendor's SDK reads joints from the last state: with an older one its first ServoJ jumps, and answers 29.
"""

import select
import socket
import struct
import time

import numpy as np
import pytest
from fr3 import FR3
from running import Running
from waiting import wait_for

from real.fairino.xmlrpc import RpcLink

HOME = np.rad2deg(FR3.home_rad)
ZEROS = [0.0] * 6
JOINTS_AT = 16  # in the legacy frame: six doubles, deg


def drained(connection: socket.socket, data: bytes) -> bytes:
    """Append to `data` everything that has arrived."""
    while select.select([connection], [], [], 0.0)[0]:
        data += connection.recv(65536)
    return data


def last_joints(data: bytes) -> np.ndarray:
    """Return (6,) deg in the last whole frame of `data`."""
    size = struct.unpack_from("<H", data, 3)[0] + 7
    begin = (len(data) // size - 1) * size
    assert data[begin : begin + 2] == b"\x5a\x5a"
    return np.array(struct.unpack_from("<6d", data, begin + JOINTS_AT))


def lag_behind(running: Running) -> None:
    """Let the arm approach its target by a fifth of the way in each cycle."""
    world = running.world

    def step(steps: int) -> None:
        before = world._joints
        world._joints = before + 0.2 * (world._target - before)
        world._speed = (world._joints - before) / (0.002 * steps)

    world.step = step


@pytest.mark.parametrize("catches_up", [True, False])
def test_the_answer_follows_the_state_on_a_machine_that_stalls(running, monkeypatch, catches_up):
    running.controller.set_mode(0)
    running.controller.set_enabled(1)
    lag_behind(running)
    state = running.emulator.states[0]
    push, stall_s = state.push, 0.2 if catches_up else 0.06
    monkeypatch.setattr(state, "push", lambda read: (time.sleep(stall_s), push(read)))
    if not catches_up:
        monkeypatch.setattr(running.emulator.rate, "sleep", lambda: 1)
    with socket.create_connection(running.address("state_port"), 5.0) as connection:
        wait_for(lambda: state._clients)
        link = RpcLink(running.address("rpc_port"), 30.0)
        goal = HOME + [12, 0, 0, 0, 0, 0]
        assert link("MoveJ", goal.tolist(), ZEROS, 0, 0, 100.0, 0.0, 100.0, [0.0] * 4, -1.0, 0, ZEROS) == 0
        joints = last_joints(drained(connection, b""))
        link.close()
    np.testing.assert_allclose(joints, goal, atol=0.05)
