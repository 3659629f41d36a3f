"""CNDE frames against offsets and bytes recorded from the vendor's SDK, typed out here."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from real.fairino import cnde
from sim.core.errors import UserError

# Offsets in the data of the SDK's default recipe, as recorded from its configuration frame.
OFFSETS = {
    "actual_joint_pos": 11, "actual_TCP_pos": 59, "actual_joint_vel": 155, "actual_joint_torque": 379, "tool_id": 427,
    "cfg_DO_box": 435, "std_AI0_box": 441, "ft_sensor_data": 513, "emergency_stop": 562, "motion_done": 563,
    "collision_state": 572, "safety_stop0_state": 577, "gripper_fault": 580, "gripper_position": 588,
    "aux_axis_state": 605, "ext_DI": 746, "rbt_enable_state": 810, "robot_time": 910, "std_AO0_box": 946,
    "target_joint_torque": 982, "tool_coord": 1046, "payload": 1238, "last_servoJ_target": 1270,
}  # fmt: skip
FIELDS = cnde.layout(cnde.RECIPE)


def test_the_default_recipe_lies_as_recorded():
    fields = cnde.layout(cnde.DEFAULT_RECIPE)
    assert (len(cnde.DEFAULT_RECIPE), fields.itemsize) == (76, 1318)
    assert len(cnde.frame(cnde.OUTPUT_CONFIG, cnde.config_data(cnde.DEFAULT_RECIPE, 8))) == 1166
    for name, offset in OFFSETS.items():
        name = "ext_DI_state" if name == "ext_DI" else name
        assert fields.fields[cnde.OUR_NAMES[name]][1] == offset, name


def test_a_frame_has_the_documented_bytes():
    assert cnde.frame(cnde.START, b"", 7) == bytes.fromhex("5a5a 07 02 0000 a5a5")
    config = cnde.frame(cnde.OUTPUT_CONFIG, cnde.config_data(("robot_mode", "main_code"), 8))
    assert config == bytes.fromhex("5a5a 00 01 1600 0800") + b"robot_mode,main_code" + bytes.fromhex("a5a5")
    assert cnde.read_config(config[6:-2]) == (("robot_mode", "main_code"), 8)


def test_the_state_is_read_from_data_packed_by_hand():
    data = struct.pack(
        "<Bii6d6diBBBBBiii6dBii7i", 1, 29, 3, *(10.5, -80, 100, -110, -85, 15), *(1, 2, 3, 4, 5, 6),
        1, 0, 0, 1, 1, 42, 300, 2, 50, *(0.5, -1, 2, 0.1, -0.2, 0.3), 1, 0, 1234, *(0,) * 7,
    )  # fmt: skip
    assert len(data) == FIELDS.itemsize
    state = cnde.parse(data, FIELDS, 2.5)
    np.testing.assert_array_equal(state.joint_deg, (10.5, -80, 100, -110, -85, 15))
    np.testing.assert_array_equal(state.joint_deg_s, (1, 2, 3, 4, 5, 6))
    assert (state.robot_mode, state.main_code, state.sub_code, state.enabled) == (1, 29, 3, True)
    assert (state.emergency_stop, state.safety_stop, state.collision) == (False, True, True)
    assert (state.gripper_percent, state.gripper_fault, state.motion_done) == (42, 300, False)
    assert (state.gripper_active, state.gripper_current) == (2, 50)
    np.testing.assert_array_equal(state.wrench, (0.5, -1, 2, 0.1, -0.2, 0.3))
    assert (state.servo_count, state.stamp_s) == (1234, 2.5)
    assert state.must_stop


def test_an_unknown_field_is_named_with_the_nearest():
    with pytest.raises(UserError, match="did you mean 'actual_joint_pos'"):
        cnde.layout(("actual_joint_poss",))


def test_data_of_the_wrong_length_does_not_hold_up_what_follows():
    stream = cnde.CndeStream(FIELDS.itemsize)
    good = cnde.frame(cnde.OUTPUT_DATA, bytes(FIELDS.itemsize))
    wrong = bytearray(good)
    wrong[5] = 0x0F  # 3840 bytes and more to come
    assert stream.feed(bytes(wrong) + good) == [good]
    assert stream.skipped_bytes == len(wrong)


frames = st.builds(
    lambda joints, count: cnde.frame(cnde.OUTPUT_DATA, cnde.encode({"joint_deg": joints}, FIELDS), count),
    st.lists(st.floats(-200, 200), min_size=6, max_size=6),
    st.integers(0, 255),
)
garbage = st.one_of(st.binary(max_size=60), st.sampled_from([b"\x5a", b"\x5a\x5a", b"\x5a\x5a\x00\x04\xb2\x00"]))


@given(
    pieces=st.lists(st.tuples(garbage, frames), min_size=1, max_size=4),
    cuts=st.lists(st.integers(1, 200), min_size=1, max_size=20),
)
def test_any_chunking_and_garbage_yields_exactly_the_valid_frames(pieces, cuts):
    data = b"".join(noise + frame for noise, frame in pieces) + bytes(cnde.MAX_DATA_BYTES + 8)
    stream, found, at, turn = cnde.CndeStream(FIELDS.itemsize), [], 0, 0
    while at < len(data):
        step = cuts[turn % len(cuts)]
        found += stream.feed(data[at : at + step])
        at, turn = at + step, turn + 1
    assert [frame for frame in found if cnde.kind_of(frame) == cnde.OUTPUT_DATA] == [frame for _, frame in pieces]
    assert sum(map(len, found)) + stream.skipped_bytes == len(data)
