"""Devices fed with the bytes that the kernel or a terminal gives: recorded reports, typed-out events, a real pty."""

import os
import pty
import struct
import termios
import time

import numpy as np
import pytest

from rl.correct import CorrectConfig
from sim.core.errors import UserError
from sim.teleop.device import TOP_SPEED_M_S, TOP_TURN_RAD_S, Command, twist_w
from sim.teleop.gamepad import Gamepad, open_gamepad
from sim.teleop.keyboard import HOLD_S, Keyboard
from sim.teleop.operator import Operator
from sim.teleop.spacemouse import SpaceMouse, open_spacemouse

# As seen by wireshark on a SpaceNavigator: at rest, a turn about the second axis, buttons.
AT_REST, TURNED = bytes.fromhex("01000000000000"), bytes.fromhex("020000e2ff0000")
LEFT_DOWN, ALL_UP, RIGHT_DOWN = bytes.fromhex("030100"), bytes.fromhex("030000"), bytes.fromhex("030200")


def wait_for(condition) -> None:
    ends_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends_s, "did not happen"
        time.sleep(0.002)


class Heard(list):
    """The commands a device gave."""

    def __init__(self, device):
        super().__init__()
        device.on_command = self.append


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def ends():
    reading, writing = os.pipe()
    yield reading, writing
    os.close(writing)


def js(kind: int, number: int, value: int) -> bytes:
    """struct js_event of linux/joystick.h."""
    return struct.pack("=IhBB", 12345, value, kind, number)


def test_a_push_is_in_the_operator_s_frame_behind_the_arm():
    forward, left, up = [0, 1, 0, 0, 0, 0], [-1, 0, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0]
    assert twist_w(np.array(forward)).tolist() == [-TOP_SPEED_M_S, 0, 0, 0, 0, 0]
    assert twist_w(np.array(left))[1] == -TOP_SPEED_M_S
    assert twist_w(np.array(up))[2] == TOP_SPEED_M_S
    turn = twist_w(np.array([0, 0, 0, 0, 0, 5.0]))  # more than full is full
    assert turn.tolist() == [0, 0, 0, 0, 0, TOP_TURN_RAD_S]


def test_keys_push_for_a_moment_and_command(ends):
    clock = Clock()
    keyboard = Keyboard(ends[0], clock)
    heard = Heard(keyboard)
    keyboard.decode(b"wq")
    assert keyboard.push().tolist() == [0, 1, -1, 0, 0, 0]
    keyboard.decode(b"S")  # the other way at once, also with caps lock
    assert keyboard.push().tolist() == [0, -1, -1, 0, 0, 0]
    clock.now_s += HOLD_S + 0.01
    assert not keyboard.push().any()
    keyboard.decode(b"th yn\rx")
    keyboard.decode(b"\x1b[A")  # an arrow is not Escape
    assert heard == [Command.INTERVENE, Command.RESUME_POLICY, Command.GRIPPER, Command.SUCCESS, Command.FAILURE,
                     Command.CONFIRM, Command.STOP]  # fmt: skip
    assert heard.count(Command.STOP) == 1
    keyboard.decode(b"\x1b")
    keyboard.quiet()
    assert heard.count(Command.STOP) == 2
    keyboard.close()
    os.close(ends[0])


@pytest.mark.parametrize(
    ("read", "commands", "push"),
    [
        (b"\x1b\x1b", [Command.STOP] * 2, 0),
        (b"\x1bx", [Command.STOP] * 2, 0),
        (b"\x1bw", [Command.STOP], 1),
        (b"w\x1b", [Command.STOP], 1),
        (b"\x1b[A\x1b[1;5C\x1bOP\x1b[[Bt", [Command.INTERVENE], 0),  # arrows, F1, F2 of the console
        (b"\x1b[Dw", [], 1),
        (b"\x1b[A\x1b", [Command.STOP], 0),
        (b"\x1b[15~\x1by", [Command.STOP, Command.SUCCESS], 0),
        (b"\x1b[", [], 0),
        (b"\x1b\n", [Command.STOP, Command.CONFIRM], 0),
    ],
)
def test_escape_stops_also_where_ssh_sends_it_with_other_keys(ends, read, commands, push):
    keyboard = Keyboard(ends[0])
    heard = Heard(keyboard)
    keyboard.decode(read)
    keyboard.quiet()
    assert heard == commands
    assert keyboard.push().tolist() == [0, push, 0, 0, 0, 0]
    keyboard.close()
    os.close(ends[0])


@pytest.mark.parametrize("arrow", [b"\x1b[A", b"\x1b[1;5C", b"\x1bOP", b"\x1b[[B", b"\x1b[15~"])
def test_an_arrow_key_that_arrives_in_two_reads_is_not_escape(ends, arrow):
    keyboard = Keyboard(ends[0])
    heard = Heard(keyboard)
    for cut in range(1, len(arrow)):
        keyboard.decode(arrow[:cut])
        keyboard.decode(arrow[cut:] + b"w")
        keyboard.quiet()
        assert heard == [] and keyboard.push().tolist() == [0, 1, 0, 0, 0, 0]
    keyboard.close()
    os.close(ends[0])


def test_escape_alone_stops_by_itself_also_as_the_last_key_of_a_terminal_that_is_gone():
    for closed in (False, True):
        reading, writing = os.pipe()
        keyboard = Keyboard(reading)
        heard = Heard(keyboard)
        keyboard.start()
        os.write(writing, b"\x1b")
        if closed:
            os.close(writing)
        wait_for(lambda heard=heard: heard == [Command.STOP])
        keyboard.close()
        os.close(reading)
        if not closed:
            os.close(writing)


def test_a_terminal_is_read_key_by_key_and_given_back_as_it_was():
    outer, inner = pty.openpty()
    before = termios.tcgetattr(inner)
    keyboard = Keyboard(inner)
    heard = Heard(keyboard)
    keyboard.start()
    os.write(outer, b"t")  # no Enter
    wait_for(lambda: heard)
    assert heard == [Command.INTERVENE]
    keyboard.close()
    keyboard.close()
    assert termios.tcgetattr(inner) == before
    os.close(outer)
    os.close(inner)


def test_a_gamepad_moves_only_while_the_shoulder_button_is_held(ends):
    pad = Gamepad(ends[0])
    heard = Heard(pad)
    pad.decode(js(0x81, 0, 0) + js(0x82, 2, -32767) + js(0x82, 5, -32767))  # what the kernel tells at first
    pad.decode(js(2, 1, -32767) + js(2, 3, 3000))  # left stick forward, right stick within its dead zone
    assert not pad.push().any()
    pad.decode(js(1, 4, 1))
    assert pad.push().tolist() == [0, 1, 0, 0, 0, 0]
    pad.decode(js(2, 5, 32767)[:3])  # half an event
    pad.decode(js(2, 5, 32767)[3:] + js(2, 1, 0))
    assert pad.push().tolist() == [0, 0, 1, 0, 0, 0]
    pad.decode(js(1, 4, 0))
    assert not pad.push().any()
    pad.decode(js(1, 7, 1) + js(1, 7, 0) + js(0x81, 6, 1) + js(1, 5, 1))
    assert heard == [Command.INTERVENE, Command.STOP]
    pad.close()


def test_an_unplugged_gamepad_pushes_no_more():
    reading, writing = os.pipe()
    pad = Gamepad(reading)
    pad.start()
    os.write(writing, js(1, 4, 1) + js(2, 0, 32767))
    wait_for(lambda: pad.push().any())
    os.close(writing)
    wait_for(pad.lost.is_set)
    assert not pad.push().any()
    pad.close()


def test_a_spacemouse_s_reports(ends):
    clock = Clock()
    mouse = SpaceMouse(ends[0], clock)
    heard = Heard(mouse)
    mouse.decode(AT_REST)
    mouse.decode(TURNED)  # -30 of 350 about the axis towards the person: so much about forward
    np.testing.assert_allclose(mouse.push(), [0, 0, 0, 0, 30 / 350, 0])
    mouse.decode(struct.pack("<B6h", 1, 350, -350, -175, 0, 0, 0))  # a newer model: six axes in one report
    np.testing.assert_allclose(mouse.push(), [1, 1, 0.5, 0, 0, 0])
    clock.now_s += 0.25  # it tells every 16 ms while it is pushed
    assert not mouse.push().any()
    for report in (LEFT_DOWN, ALL_UP, RIGHT_DOWN, RIGHT_DOWN, ALL_UP, bytes.fromhex("1764")):
        mouse.decode(report)
    assert heard == [Command.GRIPPER, Command.TOGGLE]
    mouse.close()


def test_a_spacemouse_is_found_by_its_maker(tmp_path):
    classes, nodes = tmp_path / "class", tmp_path / "dev"
    nodes.mkdir()
    for name, ids in (("hidraw0", "0003:0000046D:0000C52B"), ("hidraw1", "0003:0000256F:0000C635")):
        (classes / name / "device").mkdir(parents=True)
        (classes / name / "device" / "uevent").write_text(f"DRIVER=hid-generic\nHID_ID={ids}\n")
    with pytest.raises(UserError, match=r"hidraw1 cannot be read .*udev rule"):
        open_spacemouse(classes, nodes)
    os.mkfifo(nodes / "hidraw1")
    writing = os.open(nodes / "hidraw1", os.O_RDWR)
    open_spacemouse(classes, nodes).close()
    os.close(writing)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="no gamepad"):
        open_gamepad(tmp_path)
    with pytest.raises(UserError, match="no SpaceMouse"):
        open_spacemouse(tmp_path)
    with pytest.raises(UserError, match="did you mean 'gamepad'"):
        CorrectConfig(device="gamepda")


def test_the_operator_is_all_devices_as_one(ends):
    clock = Clock()
    keyboard, mouse = Keyboard(ends[0], clock), SpaceMouse(os.dup(ends[0]), clock)
    stopped = []
    with Operator([keyboard, mouse], lambda: stopped.append("now")) as operator:
        keyboard.decode(b"w")
        mouse.decode(struct.pack("<B3h", 1, 350, 0, 0))
        np.testing.assert_allclose(operator.twist_w(), [-TOP_SPEED_M_S, TOP_SPEED_M_S, 0, 0, 0, 0])
        keyboard.decode(b"tyxn")
        assert stopped == ["now"]
        assert operator.take(Command.SUCCESS, Command.FAILURE) == [Command.SUCCESS, Command.FAILURE]
        assert operator.take(Command.SUCCESS, Command.INTERVENE) == [Command.INTERVENE]
        with pytest.raises(KeyboardInterrupt):
            operator.confirm()  # the stop still counts
        keyboard.decode(b"t")
        operator.forget()
        assert operator.take(Command.INTERVENE) == []
    os.close(ends[0])


def test_nobody_left_to_confirm_is_an_error():
    reading, writing = os.pipe()
    os.close(writing)
    other, held = os.pipe()
    with Operator([Keyboard(reading), SpaceMouse(other)]) as operator:  # which has no key to confirm with
        with pytest.raises(UserError, match="nobody is there"):
            operator.confirm()
        assert not operator.lost
    os.close(held)
