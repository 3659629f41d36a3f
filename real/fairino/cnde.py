"""The protocol of port 20005: CNDE state frames ("FR-CNDE-V0001", controllers since V3.9.5).

Frame, little endian: u16 0x5A5A, u8 count, u8 type, u16 length, data, u16 0xA5A5; no checksum. The
client names the fields it wants and the period, the controller acknowledges and, once started,
sends them packed in that order. Names, types and order as in the vendor's Python SDK 2.2.6; our
names beside them are those of `state_frame.FRAME`, so that one reader serves both protocols.
"""

import numpy as np

from real.fairino.controller_state import ControllerState, state_of
from real.fairino.framing import HEAD, FrameCutter
from sim.core.errors import UserError, nearest

TAIL = b"\xa5\xa5"
HEAD_BYTES, TAIL_BYTES = 6, 2
MAX_DATA_BYTES = 4096
OUTPUT_CONFIG, START, STOP, OUTPUT_DATA, MESSAGE = 1, 2, 3, 4, 6
LAST_KIND = 8
ACK_OK, ACK_ERROR = 0, 3
MIN_PERIOD_MS, MAX_PERIOD_MS = 1, 1000

# (name on the wire, type, our name); the first 76 are the vendor's default recipe, in its order.
_FIELDS = (
    ("program_state", "u1", ""), ("robot_state", "u1", ""), ("main_code", "<i4", ""), ("sub_code", "<i4", ""),
    ("robot_mode", "u1", ""), ("actual_joint_pos", "<6f8", "joint_deg"), ("actual_TCP_pos", "<6f8", "tcp_pose"),
    ("actual_flange_pos", "<6f8", "flange_pose"), ("actual_joint_vel", "<6f8", "joint_deg_s"),
    ("actual_joint_acc", "<6f8", "joint_deg_s2"), ("target_TCP_cmpvel", "<2f8", "target_tcp_composite"),
    ("target_TCP_vel", "<6f8", "target_tcp_speed"), ("actual_TCP_cmpvel", "<2f8", "tcp_composite"),
    ("actual_TCP_vel", "<6f8", "tcp_speed"), ("actual_joint_torque", "<6f8", "joint_torque_nm"),
    ("tool_id", "<i4", "tool"), ("wobj_id", "<i4", "user"), ("cfg_DO_box", "u1", "do_high"),
    ("std_DO_box", "u1", "do_low"), ("cfg_DO_tool", "u1", "do_tool"), ("cfg_DI_box", "u1", "di_high"),
    ("std_DI_box", "u1", "di_low"), ("cfg_DI_tool", "u1", "di_tool"), ("std_AI0_box", "<f8", ""),
    ("std_AI1_box", "<f8", ""), ("std_AI_tool", "<f8", ""), ("ft_sensor_raw_data", "<6f8", "ft_raw"),
    ("ft_sensor_data", "<6f8", "ft"), ("ft_sensor_active", "u1", "ft_active"), ("emergency_stop", "u1", ""),
    ("motion_done", "<i4", ""), ("gripper_motion_done", "u1", ""), ("motion_queue_len", "<i4", "queue_length"),
    ("collision_state", "u1", "collision"), ("trajectory_pnum", "<i4", "trajectory_point"),
    ("safety_stop0_state", "u1", "safety_stop_0"), ("safety_stop1_state", "u1", "safety_stop_1"),
    ("gripper_fault_id", "u1", ""), ("gripper_fault", "<i4", ""), ("gripper_active", "<i4", ""),
    ("gripper_position", "u1", ""), ("gripper_speed", "<i4", ""), ("gripper_current", "<i4", ""),
    ("gripper_temp", "<i4", "gripper_temperature"), ("gripper_voltage", "<i4", ""),
    ("aux_axis_state", "25u1", "aux_servo"), ("exaxis_status", "116u1", "external_axes"), ("ext_DI_state", "16u1", ""),
    ("ext_DO_state", "16u1", ""), ("ext_AI_state", "<4i4", ""), ("ext_AO_state", "<4i4", ""),
    ("rbt_enable_state", "<i4", "enabled"), ("joint_driver_torque", "<6f8", "driver_torque"),
    ("actual_joint_temp", "<6f8", "driver_temperature"), ("robot_time", "<7i4", ""),
    ("software_upgrade_state", "<i4", "upgrade_state"), ("end_lua_err_code", "<i4", "end_lua_error"),
    ("std_AO0_box", "<f8", ""), ("std_AO1_box", "<f8", ""), ("std_AO_tool", "<f8", ""),
    ("rotating_gripper_num", "<f8", ""), ("rotating_gripper_speed", "u1", ""), ("rotating_gripper_tor", "u1", ""),
    ("weld_break_off_state", "u1", ""), ("weld_arc_state", "u1", ""), ("target_joint_torque", "<6f8", ""),
    ("smarttool_state", "<u4", ""), ("wide_voltage_ctrl_box_temp", "<f8", ""),
    ("wide_voltage_ctrl_box_fan_current", "<i4", ""), ("tool_coord", "<6f8", ""), ("wobj_coord", "<6f8", ""),
    ("exTool_coord", "<6f8", ""), ("exAxis_coord", "<6f8", ""), ("payload", "<f8", ""), ("pay_cog", "<3f8", ""),
    ("last_servoJ_target", "<6f8", "servo_target_deg"),
    ("servoJ_cmd_num", "<i4", "servo_count"), ("target_joint_pos", "<6f8", ""), ("target_joint_vel", "<6f8", ""),
    ("target_joint_acc", "<6f8", ""), ("target_TCP_pos", "<6f8", ""), ("collision_level", "6u1", ""),
    ("speed_scaling_man", "<f8", ""), ("speed_scaling_auto", "<f8", ""), ("abnormal_stop", "u1", ""),
    ("alarm_reboot_robot", "u1", ""), ("motion_alarm", "u1", ""), ("udp_cmd_state", "<i4", ""),
    ("strange_pos_flag", "u1", ""), ("cmd_point_error", "u1", ""), ("out_sflimit_err", "u1", ""),
    ("frame_head", "<u2", ""), ("frame_cnt", "u1", ""), ("data_len", "<u2", ""),
    ("target_joint_current", "<6f8", ""), ("actual_joint_current", "<6f8", ""), ("actual_TCP_force", "<6f8", ""),
    ("line_number", "<i4", ""), ("cur_lua_file_name", "256u1", ""), ("prog_total_line", "u1", ""),
    ("safety_box_signal", "6u1", ""), ("welding_voltage", "<f8", ""), ("welding_current", "<f8", ""),
    ("welding_track_speed", "<f8", ""), ("tpd_exception", "u1", ""), ("modbus_master_connect", "u1", ""),
    ("modbus_slave_connect", "u1", ""), ("btn_box_stop_signal", "u1", ""), ("drag_alarm", "u1", ""),
    ("safety_door_alarm", "u1", ""), ("safety_plane_alarm", "u1", ""), ("interfere_alarm", "u1", ""),
    ("weld_ready_state", "u1", ""), ("alarm_check_emerg_stop_btn", "u1", ""), ("ts_tm_cmd_com_error", "u1", ""),
    ("ts_tm_state_com_error", "u1", ""), ("ctrl_box_error", "<i4", ""), ("safety_data_state", "u1", ""),
    ("force_sensor_err_state", "u1", ""), ("ctrl_open_lua_errcode", "4u1", ""), ("alarm", "u1", ""),
    ("dr_alarm", "u1", ""), ("socket_conn_timeout", "u1", ""), ("socket_read_timeout", "u1", ""),
    ("ts_web_state_com_err", "u1", ""), ("alive_slave_num_error", "u1", ""), ("slave_com_error", "8u1", ""),
    ("IO_error", "u1", ""), ("gripper_error", "u1", ""), ("file_error", "u1", ""), ("para_error", "u1", ""),
    ("exaxis_out_slimit_error", "u1", ""), ("dr_com_err", "6u1", ""), ("dr_err", "u1", ""),
    ("axle_gen_com_data", "130u1", ""), ("exaxis_coord_id", "u1", ""), ("check_sum", "<u2", ""),
)  # fmt: skip
TYPES = {name: kind for name, kind, _ in _FIELDS}
OUR_NAMES = {name: ours or name for name, _, ours in _FIELDS}
DEFAULT_RECIPE = tuple(name for name, _, _ in _FIELDS[:76])
# The fields of `ControllerState`.
RECIPE = (
    "robot_mode", "main_code", "sub_code", "actual_joint_pos", "actual_joint_vel", "rbt_enable_state",
    "emergency_stop", "safety_stop0_state", "safety_stop1_state", "collision_state", "gripper_position",
    "gripper_fault", "gripper_active", "gripper_current", "ft_sensor_data", "ft_sensor_active", "motion_done",
    "servoJ_cmd_num", "robot_time",
)  # fmt: skip


def layout(names: tuple[str, ...]) -> np.dtype:
    """Return the packing of the named fields, under our names. UserError for an unknown name."""
    for name in names:
        if name not in TYPES:
            raise UserError(nearest(name, TYPES, "CNDE field"))
    return np.dtype([(OUR_NAMES[name], TYPES[name]) for name in names])


def frame(kind: int, data: bytes = b"", count: int = 0) -> bytes:
    """Return one frame of type `kind`."""
    return HEAD + bytes((count & 0xFF, kind)) + len(data).to_bytes(2, "little") + data + TAIL


def config_data(names: tuple[str, ...], period_ms: int) -> bytes:
    """Return the data of an OUTPUT_CONFIG frame."""
    return period_ms.to_bytes(2, "little") + ",".join(names).encode()


def read_config(data: bytes) -> tuple[tuple[str, ...], int]:
    """Return names and period in ms of `config_data`. UnicodeDecodeError when it is none."""
    return tuple(data[2:].decode("ascii").split(",")), int.from_bytes(data[:2], "little")


def encode(values: dict, fields: np.dtype) -> bytes:
    """Return the data of one state frame; fields of ours that `values` lacks are 0."""
    record = np.zeros((), fields)
    for name in fields.names or ():
        if name in values:
            record[name] = values[name]
    return record.tobytes()


def parse(data: bytes, fields: np.dtype, stamp_s: float = 0.0) -> ControllerState:
    """Return the state in the data of one frame that was configured with RECIPE or more."""
    record = np.frombuffer(data, fields)[0]
    return state_of(record, stamp_s, int(record["servo_count"]))


class CndeStream(FrameCutter):
    """Frames as bytes; `kind_of` and `data_of` take them apart.

    data_bytes: how long the data of an OUTPUT_DATA frame must be; others count as damaged at
    once, so that a damaged length does not delay the frames that follow.
    """

    length_bytes = HEAD_BYTES

    def __init__(self, data_bytes: int | None = None):
        super().__init__()
        self.data_bytes = data_bytes

    def frame_size(self, begin: bytearray) -> int:
        kind, length = begin[3], int.from_bytes(begin[4:6], "little")
        wrong = kind > LAST_KIND or length > MAX_DATA_BYTES
        if kind == OUTPUT_DATA and self.data_bytes:
            wrong = length != self.data_bytes
        return 0 if wrong else HEAD_BYTES + length + TAIL_BYTES

    def is_good(self, frame: bytes) -> bool:
        return frame.endswith(TAIL)


def kind_of(frame: bytes) -> int:
    return frame[3]


def data_of(frame: bytes) -> bytes:
    return frame[HEAD_BYTES:-TAIL_BYTES]
