"""The XML-RPC methods of the emulated controller by wire name, with the release's argument counts: set-up, tools,
inputs and outputs, gripper. Motion and queries are in modules of their own.

Arguments, order and what changed in which release: the vendor's Python SDK 2.0.6 (V3.7.6) to 2.2.6
(V3.9.6) and its change list. A release does not know what a later one has.
"""

import time

from real.emulator.accepted_settings import accepted_settings
from real.emulator.controller import Controller
from real.emulator.file_methods import file_methods
from real.emulator.input_methods import input_methods
from real.emulator.method_table import Method, Table, holding
from real.emulator.motion_commands import MotionCommands
from real.emulator.motion_methods import motion_methods
from real.emulator.query_methods import query_methods
from real.emulator.splines import Splines
from real.emulator.state_server import StateServer
from real.emulator.taught_frames import TaughtFrames
from real.fairino.fault_codes import Code
from real.fairino.protocol import LOAD_NUMBER_SINCE, MARGINS_SINCE

MIN_PERIOD_MS, MAX_PERIOD_MS = 1, 1000
MAX_WAIT_MS = 30_000
NON_BLOCKING = 1
POLL_S = 0.004


def rpc_methods(controller: Controller, ip: str, states: StateServer) -> Table:
    """Return everything that one controller's release serves."""
    motions = MotionCommands(controller)
    at_once = {
        **_tools(controller), **TaughtFrames(controller, motions).methods(), **_outputs(controller),
        **_gripper_set_up(controller), **query_methods(controller, motions, ip),
    }  # fmt: skip
    return {
        **accepted_settings(controller.version, force_sensor=controller.force_sensor),
        **input_methods(), **_settings(controller, states),
        **holding(controller.lock, at_once), **motion_methods(controller, motions), **Splines(motions).methods(),
        **file_methods(controller.version),
        "MoveGripper": Method(10, lambda *arguments: _move_gripper(controller, *arguments)),
    }  # fmt: skip


def _settings(c: Controller, states: StateServer) -> Table:
    return {
        "Mode": Method(1, c.set_mode),
        "RobotEnable": Method(1, c.set_enabled),
        "SetSpeed": Method(1, lambda percent: _set_speed(c, percent)),
        "ResetAllError": Method(0, c.reset_errors),
        "SetRobotRealtimeStateSamplePeriod": Method(1, lambda period_ms: _set_period(states, period_ms)),
        "GetRobotRealtimeStateSamplePeriod": Method(0, lambda: [round(1000 * states.period_s)], 1),
        "SetAnticollision": Method(3, lambda mode, levels, save: c.collision.set_levels(mode, levels)),
        "SetCollisionStrategy": Method(
            5 if c.version >= MARGINS_SINCE else 4, lambda strategy, *rest: c.collision.set_strategy(strategy)
        ),
        "SetLimitPositive": Method(1, lambda limits: c.set_limit(limits, positive=True)),
        "SetLimitNegative": Method(1, lambda limits: c.set_limit(limits, positive=False)),
        "WaitMs": Method(1, _wait_ms),
    }


def _tools(c: Controller) -> Table:
    frames = c.frames
    return {
        "SetToolCoord": Method(6, lambda number, pose, *rest: frames.set_tool(number, pose, active=True)),
        "SetToolList": Method(5, lambda number, pose, *rest: frames.set_tool(number, pose, active=False)),
        "SetWObjCoord": Method(3, lambda number, pose, frame: frames.set_user(number, pose, active=True)),
        "SetWObjList": Method(3, lambda number, pose, frame: frames.set_user(number, pose, active=False)),
        "SetLoadWeight": Method(2 if c.version >= MARGINS_SINCE else 1, lambda *numbers: frames.set_load(numbers[-1])),
        "SetLoadCoord": _load_centre(c),
    }


def _load_centre(c: Controller) -> Method:
    if c.version < LOAD_NUMBER_SINCE:
        return Method(3, c.frames.set_load_centre)
    return Method(4, lambda x, y, z, number: c.frames.set_load_centre(x, y, z) if number >= 0 else Code.WRONG_TOOL)


def _outputs(c: Controller) -> Table:
    return {
        "SetDO": Method(4, lambda number, status, smooth, block: c.outputs.set_box(number, status)),
        "SetToolDO": Method(4, lambda number, status, smooth, block: c.outputs.set_tool(number, status)),
        "SetAO": Method(3, lambda number, value, block: c.outputs.set_box_analog(number, value)),
        "SetToolAO": Method(3, lambda number, value, block: c.outputs.set_tool_analog(number, value)),
    }


def _gripper_set_up(c: Controller) -> Table:
    return {"SetGripperConfig": Method(4, c.gripper.configure), "ActGripper": Method(2, c.gripper.activate)}


def _move_gripper(c: Controller, index, percent, speed, force, max_time_ms, block, *rotation) -> int:  # noqa: PLR0913
    """Move the gripper; block 0: wait for the end of the motion, at most max_time_ms."""
    if not 0 <= max_time_ms <= MAX_WAIT_MS or block not in (0, NON_BLOCKING) or not 0 <= force <= 100:
        return Code.WRONG_VALUE
    if (code := c.move_gripper(index, percent, speed)) or block == NON_BLOCKING:
        return code
    ends_s = time.monotonic() + max_time_ms / 1000
    while c.gripper.moving:
        if time.monotonic() > ends_s:
            return Code.WAIT_TIMEOUT
        time.sleep(POLL_S)
    return Code.FAILED if c.main_code else Code.OK


def _set_speed(c: Controller, percent: int) -> int:
    if not 0 < percent <= 100:
        return Code.WRONG_SPEED
    c.speeds_percent[c.shown_mode] = int(percent)
    return Code.OK


def _set_period(states: StateServer, period_ms: int) -> int:
    if not MIN_PERIOD_MS <= period_ms <= MAX_PERIOD_MS:
        return Code.WRONG_VALUE
    states.period_s = period_ms / 1000
    return Code.OK


def _wait_ms(duration_ms: int) -> int:
    if not 0 <= duration_ms <= MAX_WAIT_MS:
        return Code.WRONG_VALUE
    time.sleep(duration_ms / 1000)
    return Code.OK
