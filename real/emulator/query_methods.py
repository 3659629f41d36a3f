"""The XML-RPC queries of the emulated controller by wire name. While faulted most answer 14, as seen on hardware."""

import math
import time
from collections.abc import Callable

import numpy as np

from real.emulator.controller import Controller
from real.emulator.method_table import Method, Table
from real.emulator.motion_commands import MotionCommands
from real.emulator.state_queries import QUERIES, STOPS, state_queries
from real.emulator.state_values import state_values
from real.fairino.fault_codes import Code
from real.fairino.protocol import NUMBERED_QUERIES_SINCE

MODEL, SERIAL_NUMBER = "FR3-V1-001(V6.0)", "EMULATED"
SERIAL_NUMBER_SINCE = (3, 8, 1)
TRANSFER_SPEED_MM_S = 1000.0  # the data sheet's typical speed of the tool


def core_version(firmware: str) -> str:
    """Return the number that the controller's core carries beside its release: V3.9.26-QX of V3.9.6.

    Seen on hardware: V3.9.33-QX of V3.9.7, V3.8.12 of V3.8.2, V3.9.22 of V3.9.2; the rule is not documented.
    """
    major, minor, patch, *_ = firmware.lstrip("V").split(".")
    return f"V{major}.{minor}.{int(patch) + 10 * (1 + (int(minor) > 8))}-QX"


def query_methods(controller: Controller, motions: MotionCommands, ip: str) -> Table:
    c, low_high = controller, lambda: np.column_stack([controller.low_deg, controller.high_deg]).ravel().tolist()
    always: Table = {
        "GetControllerIP": Method(0, lambda: [ip], 1),
        "GetSoftwareVersion": Method(0, lambda: [MODEL, c.firmware.lower(), core_version(c.firmware)], 3),
        "GetRobotErrorCode": Method(0, lambda: [c.main_code, c.sub_code], 2),
        "GetRobotMotionDone": Method(0, lambda: [int(not c.in_motion())], 1),
        "IsInDragTeach": Method(0, lambda: [int(c.drag_teach_active)], 1),
        "GetGripperConfig": Method(0, lambda: list(c.gripper.config), 4),
        "GetDefaultTransVel": Method(0, lambda: [TRANSFER_SPEED_MM_S], 1),
        "GetSystemClock": Method(0, lambda: [round(1000 * time.time(), 1)], 1),
        "GetSDKComState": Method(0, lambda: [0, 0], 2),
        "GetAxlePointRecordBtnState": Method(0, lambda: [0], 1),  # the button on the wrist is not pressed
        "GetForceAndTorqueDragState": Method(0, lambda: [0, 0], 2),
        "GetDHCompensation": Method(0, lambda: [0.0] * 6, 6),  # the arm has the lengths of its data sheet
        **state_queries(c, STOPS),
    }
    if c.version >= SERIAL_NUMBER_SINCE:
        always["GetRobotSN"] = Method(0, lambda: [SERIAL_NUMBER], 1)
    unless_faulted: Table = {
        "GetActualJointPosDegree": Method(1, lambda flag: c.measured_deg().tolist(), 6),
        "GetActualJointPosRadian": Method(1, lambda flag: np.deg2rad(c.measured_deg()).tolist(), 6),
        "GetActualTCPPose": Method(1, lambda flag: motions.forward(c.measured_deg().tolist()), 6),
        "GetActualToolFlangePose": Method(1, lambda flag: state_values(c)["flange_pose"].tolist(), 6),
        "GetForwardKin": Method(1, lambda joints: _forward(motions, joints), 6),
        "GetInverseKin": Method(3, lambda kind, pose, config: motions.inverse(kind, pose, c.drives.end_deg), 6),
        "GetInverseKinRef": Method(3, lambda kind, pose, near: motions.inverse(kind, pose, np.array(near, float)), 6),
        "GetInverseKinHasSolution": Method(3, lambda *arguments: _has_inverse(motions, *arguments), 1),
        "GetJointSoftLimitDeg": Method(1, lambda flag: low_high(), 12),
        "GetTCPOffset": Method(1, lambda flag: list(c.frames.tools[c.frames.tool]), 6),
        "GetWObjOffset": Method(1, lambda flag: list(c.frames.users[c.frames.user]), 6),
        "GetTargetPayload": Method(1, lambda flag: [c.frames.load_kg], 1),
        "GetTargetPayloadCog": Method(1, lambda flag: list(c.frames.load_mm), 3),
        "GetGripperMotionDone": Method(0, lambda: [0, int(not c.gripper.moving)], 2),
        **state_queries(c, QUERIES),
    }
    return always | _numbered(c) | {name: _unless_faulted(c, method) for name, method in unless_faulted.items()}


def _numbered(c: Controller) -> Table:
    """Return the frames and loads by number. A release before V3.8.6 does not know them. Loads: one is kept."""
    if c.version < NUMBERED_QUERIES_SINCE:
        return {}
    return {
        "GetToolCoordWithID": Method(1, lambda number: list(c.frames.tools[number]), 6),
        "GetWObjCoordWithID": Method(1, lambda number: list(c.frames.users[number]), 6),
        "GetTargetPayloadWithID": Method(1, lambda number: [c.frames.load_kg, *c.frames.load_mm], 4),
    }


def _unless_faulted(c: Controller, method: Method) -> Method:
    read: Callable = method.call
    return Method(method.arguments, lambda *arguments: Code.FAILED if c.main_code else read(*arguments), method.values)


def _forward(motions: MotionCommands, joints: list) -> list[float] | Code:
    if len(joints) != 6 or not all(map(math.isfinite, joints)):
        return Code.WRONG_VALUE
    return motions.forward(joints)


def _has_inverse(motions: MotionCommands, kind: int, pose: list, near: list) -> list:
    return [not isinstance(motions.inverse(kind, pose, np.array(near, float)), int)]
