"""The values in the emulated controller's state frames, of both protocols."""

from datetime import UTC, datetime

import numpy as np

from real.emulator import kinematics
from real.emulator.controller import Controller
from real.fairino.protocol import AUTOMATIC, MANUAL

PROGRAM_STOPPED = 1
STOPPED, RUNNING, DRAGGED = 1, 2, 4  # robot_state
FRAME_HEAD = 0x5A5A
RESOLUTION = np.repeat([1 / 16, 1 / 512], 3)  # of the force sensor, N and N·m: short numbers, see `_joints`


def state_values(controller: Controller) -> dict:
    """Return them by the names of `state_frame.FRAME` and, where that has more, of CNDE; all others are 0."""
    c = controller
    with c.lock:
        return {**_status(c), **_joints(c), **_tool(c), **_gripper(c), **_touch(c), **c.outputs.values(), **_time()}


def _status(c: Controller) -> dict:
    moving = c.in_motion()
    return {
        "program_state": PROGRAM_STOPPED,
        "robot_state": DRAGGED if c.drag_teach_active else RUNNING if moving else STOPPED,
        "robot_mode": c.shown_mode, "main_code": c.main_code, "sub_code": c.sub_code, "enabled": c.enabled,
        "emergency_stop": c.emergency_stop, "safety_stop_0": c.safety_stop, "collision": c.collided,
        "frame_head": FRAME_HEAD, "alarm": bool(c.main_code),
        "motion_done": not moving, "queue_length": int(c.drives.path_cycles > 0),
        "collision_level": np.round(c.collision.levels),
        "speed_scaling_man": c.speeds_percent[MANUAL], "speed_scaling_auto": c.speeds_percent[AUTOMATIC],
    }  # fmt: skip


def _joints(c: Controller) -> dict:
    # Short numbers: the vendor's SDK compares the whole byte sum with 16 bits, and loses a frame of many long ones.
    joint_deg = np.rad2deg(c.twin.state()[:-1])
    return {
        "joint_deg": joint_deg, "joint_deg_s": np.rad2deg(c.twin.speed_rad_s()).astype(np.float32),
        "target_joint_pos": c.drives.target_deg, "target_joint_vel": c.drives.speed_deg_s,
        "servo_target_deg": c.drives.goal_deg.astype(np.float32), "servo_count": c.servo_calls,
    }  # fmt: skip


def _tool(c: Controller) -> dict:
    frames = c.frames
    links, target_links = kinematics.frames(c.twin.state()[:-1]), kinematics.frames(np.deg2rad(c.drives.target_deg))
    tool, flange = frames.tool_from_flange(), links[-1]
    speed = kinematics.speed(links, tool, c.twin.speed_rad_s()).astype(np.float32)
    target_speed = kinematics.speed(target_links, tool, np.deg2rad(c.drives.speed_deg_s)).astype(np.float32)
    return {
        "tcp_pose": np.array(kinematics.pose_of(flange @ tool), np.float32),
        "flange_pose": np.array(kinematics.pose_of(flange), np.float32),
        "target_TCP_pos": kinematics.pose_of(target_links[-1] @ tool), "tool": frames.tool, "user": frames.user,
        "tool_coord": frames.tools[frames.tool], "wobj_coord": frames.users[frames.user],
        "payload": frames.load_kg, "pay_cog": frames.load_mm,
        "tcp_speed": speed, "tcp_composite": _composite(speed),
        "target_tcp_speed": target_speed, "target_tcp_composite": _composite(target_speed),
    }  # fmt: skip


def _composite(speed: np.ndarray) -> list[float]:
    """Return how fast in mm/s, and how fast about whichever axis in deg/s."""
    return [float(np.linalg.norm(speed[:3])), float(np.linalg.norm(speed[3:]))]


def _gripper(c: Controller) -> dict:
    return {
        "gripper_motion_done": not c.gripper.moving, "gripper_active": c.gripper.active,
        "gripper_fault": c.gripper.fault, "gripper_position": round(100 * float(c.twin.state()[-1])),
    }  # fmt: skip


def _touch(c: Controller) -> dict:
    """Return the gripper's current, and what the force sensor reads where there is one."""
    grip_n, *wrench = c.twin.touch()
    values = {"gripper_current": round(100 * grip_n / c.twin.robot.gripper_force_n)}
    if not c.force_sensor:
        return values
    read = np.round(np.array(wrench) / RESOLUTION) * RESOLUTION
    return {**values, "ft_raw": read, "ft": read, "ft_active": True}


def _time() -> dict:
    """Return the controller's clock: year, month, day, hour, minute, second, millisecond."""
    now = datetime.now(UTC)
    parts = [now.year, now.month, now.day, now.hour, now.minute, now.second, now.microsecond // 1000]
    packed = b"".join(value.to_bytes(size, "little") for value, size in zip(parts, (2, 1, 1, 1, 1, 1, 2), strict=True))
    return {"robot_time": parts, "clock": np.frombuffer(packed, np.uint8)}
