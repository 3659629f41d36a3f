"""The legacy state frame of port 20004.

Frame, little endian and packed: u16 0x5A5A, u8 count, u16 payload length, payload, u16 checksum
(byte sum of everything before it, low 16 bits). The controller sends frames without a request. Fields up to
byte 886 are the same in every release, later ones were only added, so a frame is read as far
as it reaches. Sizes and offsets as in the structs of the vendor's Python SDK 2.0.8 to 2.2.4. Since
2.1.2 (V3.8.2) that SDK reads only frames at least two bytes longer than its own struct; they are made this
long here, which the C++ SDK reads too. Joints in degrees, lengths in mm.
"""

import re

import numpy as np

from real.fairino.controller_state import ControllerState, state_of
from real.fairino.framing import FrameCutter
from sim.core.errors import UserError

MIN_FRAME_BYTES, MAX_FRAME_BYTES = 888, 2048
FRAME_BYTES = 1238  # V3.8.7 and later
_COMMON_BYTES = 886

# (offset, name, type); the order of the vendor's struct.
_COMMON = (
    (0, "head", "<u2"), (2, "count", "u1"), (3, "length", "<u2"),
    (5, "program_state", "u1"), (6, "robot_state", "u1"),
    (7, "main_code", "<i4"), (11, "sub_code", "<i4"), (15, "robot_mode", "u1"),
    (16, "joint_deg", "<6f8"), (64, "tcp_pose", "<6f8"), (112, "flange_pose", "<6f8"),
    (160, "joint_deg_s", "<6f8"), (208, "joint_deg_s2", "<6f8"),
    (256, "target_tcp_composite", "<2f8"), (272, "target_tcp_speed", "<6f8"),
    (320, "tcp_composite", "<2f8"), (336, "tcp_speed", "<6f8"), (384, "joint_torque_nm", "<6f8"),
    (432, "tool", "<i4"), (436, "user", "<i4"),
    (440, "do_high", "u1"), (441, "do_low", "u1"), (442, "do_tool", "u1"),
    (443, "di_high", "u1"), (444, "di_low", "u1"), (445, "di_tool", "u1"),
    (446, "ai", "<2u2"), (450, "ai_tool", "<u2"), (452, "ft_raw", "<6f8"), (500, "ft", "<6f8"),
    (548, "ft_active", "u1"), (549, "emergency_stop", "u1"), (550, "motion_done", "<i4"),
    (554, "gripper_motion_done", "u1"), (555, "queue_length", "<i4"), (559, "collision", "u1"),
    (560, "trajectory_point", "<i4"), (564, "safety_stop_0", "u1"), (565, "safety_stop_1", "u1"),
    (566, "gripper_fault_id", "u1"), (567, "gripper_fault", "<u2"), (569, "gripper_active", "<u2"),
    (571, "gripper_position", "u1"), (572, "gripper_speed", "i1"), (573, "gripper_current", "i1"),
    (574, "gripper_temperature", "<i4"), (578, "gripper_voltage", "<i4"),
    (582, "aux_servo", "25u1"), (607, "external_axes", "116u1"),
    (723, "ext_di", "<8u2"), (739, "ext_do", "<8u2"), (755, "ext_ai", "<4u2"), (763, "ext_ao", "<4u2"),
    (771, "enabled", "<i4"), (775, "driver_torque", "<6f8"), (823, "driver_temperature", "<6f8"),
    (871, "clock", "9u1"), (880, "upgrade_state", "<i4"), (884, "end_lua_error", "<u2"),
)  # fmt: skip
# Since V3.8.6 and V3.8.7.
_LATER = (
    (958, "tool_coord", "<6f8"), (1006, "wobj_coord", "<6f8"), (1150, "payload", "<f8"), (1158, "pay_cog", "<3f8"),
    (1182, "servo_target_deg", "<6f8"), (1230, "servo_count", "<i4"),
)  # fmt: skip
_COUNT_END = 1234


def _dtype(fields: tuple, size: int) -> np.dtype:
    offsets, names, formats = zip(*fields, strict=True)
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": size})


COMMON = _dtype(_COMMON, _COMMON_BYTES)
FRAME = _dtype(_COMMON + _LATER, FRAME_BYTES)


def frame_bytes(version: tuple[int, int, int]) -> int:
    """Return how long the state frame of a controller release is."""
    sizes = (((3, 8, 7), FRAME_BYTES), ((3, 8, 6), 1186), ((3, 8, 3), 960), ((3, 8, 2), 954), ((3, 7, 8), 902))
    return next((size for since, size in sizes if version >= since), MIN_FRAME_BYTES)


def parse_version(text: str) -> tuple[int, int, int]:
    """Return (3, 8, 5) of "V3.8.5.1" or the like. UserError when there is none in it."""
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", text)
    if not found:
        raise UserError(f"controller version {text!r} is not understood, expected the like of 'V3.8.7'")
    major, minor, patch = map(int, found.groups())
    return major, minor, patch


def checksum(data: bytes | bytearray) -> int:
    """Return the byte sum, low 16 bits."""
    return int(np.frombuffer(data, np.uint8).sum(dtype=np.uint64)) & 0xFFFF


def encode(values: dict, count: int = 0, size: int = FRAME_BYTES) -> bytes:
    """Return a state frame of `size` bytes with the given fields of FRAME, all others 0. KeyError: no such field."""
    frame = np.zeros((), FRAME)
    for name, value in values.items():
        frame[name] = value
    frame["head"], frame["count"], frame["length"] = 0x5A5A, count & 0xFF, size - 7
    body = frame.tobytes()[: size - 2]
    return body + checksum(body).to_bytes(2, "little")


def parse(frame: bytes, stamp_s: float = 0.0) -> ControllerState:
    """Return the state in one whole, checked frame of any release."""
    raw = np.frombuffer(frame[:_COMMON_BYTES], COMMON)[0]
    count = int.from_bytes(frame[1230:_COUNT_END], "little") if len(frame) >= _COUNT_END + 2 else None
    return state_of(raw, stamp_s, count)


class FrameStream(FrameCutter):
    """The frames of port 20004."""

    length_bytes = 5

    def frame_size(self, begin: bytearray) -> int:
        size = int.from_bytes(begin[3:5], "little") + 7
        return size if MIN_FRAME_BYTES <= size <= MAX_FRAME_BYTES else 0

    def is_good(self, frame: bytes) -> bool:
        return checksum(frame[:-2]) == int.from_bytes(frame[-2:], "little")
