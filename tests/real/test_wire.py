"""The state frame against bytes placed by hand at the offsets of the controller's documentation."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from real.fairino import fault_codes, state_frame
from sim.core.errors import UserError

JOINTS = (10.5, -80.25, 100.0, -110.125, -85.0, 15.75)


def by_hand(size: int = 1238) -> bytes:
    """A frame packed with struct, offsets typed from the table; knows nothing of state_frame.py."""
    frame = bytearray(size)
    struct.pack_into("<HBH", frame, 0, 0x5A5A, 7, size - 7)
    struct.pack_into("<BBiiB", frame, 5, 1, 2, 29, 3, 1)
    struct.pack_into("<6d", frame, 16, *JOINTS)
    struct.pack_into("<6d", frame, 160, 1, 2, 3, 4, 5, 6)
    struct.pack_into("<Bi", frame, 549, 1, 1)
    frame[559] = 1
    frame[565] = 1
    struct.pack_into("<HH", frame, 567, 300, 2)
    frame[571] = 42
    struct.pack_into("<i", frame, 771, 1)
    if size == 1238:
        struct.pack_into("<6di", frame, 1182, 6, 5, 4, 3, 2, 1, 1234)
    total = sum(frame[:-2]) & 0xFFFF
    struct.pack_into("<H", frame, size - 2, total)
    return bytes(frame)


@pytest.mark.parametrize("size", [888, 902, 954, 960, 1186, 1238])
def test_parse_reads_every_field_at_its_documented_offset(size):
    [frame] = state_frame.FrameStream().feed(by_hand(size))
    state = state_frame.parse(frame, stamp_s=2.5)
    np.testing.assert_array_equal(state.joint_deg, JOINTS)
    np.testing.assert_array_equal(state.joint_deg_s, [1, 2, 3, 4, 5, 6])
    assert (state.main_code, state.sub_code, state.robot_mode) == (29, 3, 1)
    assert state.faulted
    assert state.emergency_stop
    assert state.safety_stop
    assert state.collision
    assert (state.enabled, state.motion_done) == (True, True)
    assert (state.gripper_percent, state.gripper_fault, state.gripper_active, state.stamp_s) == (42, 300, 2, 2.5)


@pytest.mark.parametrize("size", [888, 902, 954, 960, 1186, 1238])
def test_encode_gives_the_same_bytes(size):
    values = {
        "program_state": 1, "robot_state": 2, "main_code": 29, "sub_code": 3, "robot_mode": 1,
        "joint_deg": JOINTS, "joint_deg_s": (1, 2, 3, 4, 5, 6), "emergency_stop": 1, "motion_done": 1,
        "collision": 1, "safety_stop_1": 1, "gripper_fault": 300, "gripper_active": 2, "gripper_position": 42,
        "enabled": 1, "servo_target_deg": (6, 5, 4, 3, 2, 1), "servo_count": 1234,
    }  # fmt: skip
    assert state_frame.encode(values, count=7, size=size) == by_hand(size)


def test_fields_do_not_overlap_and_leave_no_gap_up_to_886():
    ends = 0
    for name in state_frame.COMMON.names:
        kind, offset = state_frame.COMMON.fields[name][:2]
        assert offset == ends, name
        ends = offset + kind.itemsize
    assert ends == 886


@pytest.mark.parametrize(
    ("version", "size"),
    [
        ((3, 7, 6), 888),
        ((3, 8, 0), 902),
        ((3, 8, 2), 954),
        ((3, 8, 5), 960),
        ((3, 8, 6), 1186),
        ((3, 8, 7), 1238),
        ((3, 9, 4), 1238),
    ],  # fmt: skip
)
def test_frame_size_follows_the_release(version, size):
    assert state_frame.frame_bytes(version) == size


def test_version_is_found_in_what_controllers_say():
    assert state_frame.parse_version("V3.8.5.1") == (3, 8, 5)
    with pytest.raises(UserError, match="not understood"):
        state_frame.parse_version("unknown")


def test_an_unknown_code_still_has_a_meaning():
    assert "ServoJ" in fault_codes.meaning(29)
    assert "manual" in fault_codes.meaning(9999)


def test_a_wrong_checksum_is_dropped_counted_and_followed_by_the_next_frame():
    torn = bytearray(by_hand())
    torn[500] ^= 0xFF
    stream = state_frame.FrameStream()
    assert stream.feed(bytes(torn) + by_hand()) == [by_hand()]
    assert stream.dropped == 1
    assert stream.skipped_bytes == len(torn)


def test_half_a_frame_then_a_whole_one_yields_the_whole_one():
    stream = state_frame.FrameStream()
    assert stream.feed(by_hand()[:600]) == []
    assert stream.feed(by_hand() + bytes(2048)) == [by_hand()]


frames = st.builds(
    lambda joints, count, size: state_frame.encode({"joint_deg": joints}, count, size),
    st.lists(st.floats(-200, 200), min_size=6, max_size=6),
    st.integers(0, 255),
    st.sampled_from([888, 902, 954, 960, 1186, 1238]),
)
# Garbage may hold the head by itself, followed by a length that looks right.
garbage = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([b"\x5a", b"\x5a\x5a", b"\x5a\x5a\x00\xcd\x04", b"\x5a\x5a\x5a\x5a\x01\x7b\x03"]),
)


@given(
    pieces=st.lists(st.tuples(garbage, frames), min_size=1, max_size=4),
    cuts=st.lists(st.integers(1, 700), min_size=1, max_size=20),
)
def test_any_chunking_and_garbage_yields_exactly_the_valid_frames(pieces, cuts):
    data = b"".join(noise + frame for noise, frame in pieces) + bytes(state_frame.MAX_FRAME_BYTES)
    stream, found, at, turn = state_frame.FrameStream(), [], 0, 0
    while at < len(data):
        step = cuts[turn % len(cuts)]
        found += stream.feed(data[at : at + step])
        at, turn = at + step, turn + 1
    assert found == [frame for _, frame in pieces]
    noise = sum(len(noise) for noise, _ in pieces) + state_frame.MAX_FRAME_BYTES
    assert stream.skipped_bytes == noise
