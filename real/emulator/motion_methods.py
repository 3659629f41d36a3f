"""The XML-RPC methods of the emulated controller that move the arm, by wire name.

Flat lists (MoveL, MoveC and Circle since V3.8.5) are taken apart by position, as the vendor's SDK writes them.
A wrong layout once moved an arm 300 mm astray.
"""

from collections.abc import Callable

from real.emulator.controller import Controller
from real.emulator.method_table import Method, Table, holding
from real.emulator.motion_commands import MotionCommands, Target
from real.emulator.target_offsets import offset_of
from real.fairino.fault_codes import Code
from real.fairino.protocol import (
    BLEND_MODE_SINCE,
    FLAT_MOVES_SINCE,
    QUEUE_CLEAR_SINCE,
    SERVO_CART_AXES_SINCE,
    SERVO_SPEED_SINCE,
    SERVOJ_ID_SINCE,
)

LINE_NUMBERS, ARC_NUMBERS, CIRCLE_NUMBERS = 33, 58, 51  # in a flat list


def motion_methods(controller: Controller, motions: MotionCommands) -> Table:
    c, version = controller, controller.version
    serve = _FlatMoves(motions) if version >= FLAT_MOVES_SINCE else _SeparateMoves(motions, version)
    methods: Table = {
        "ServoMoveStart": Method(0, c.servo_start),
        "ServoMoveEnd": Method(0, c.servo_end),
        "ServoJ": Method(8 if version >= SERVOJ_ID_SINCE else 7, _servo_j(c)),
        "ServoCart": Method(*_servo_cart(c, motions)),
        "StopMotion": Method(0, c.stop_motion),
        "StartJOG": Method(6, lambda frame, axis, way, vel, acc, most: motions.jog(frame, axis, way, vel, most)),
        "StopJOG": Method(1, lambda frame: c.stop_motion()),
        "ImmStopJOG": Method(0, c.stop_motion),
        "DragTeachSwitch": Method(1, c.set_drag_teach),
        "MoveJ": Method(11, lambda *arguments: _move_j(motions, *arguments)),
        "MoveCart": Method(8, lambda *arguments: _move_cart(motions, *arguments)),
        "MoveL": Method(serve.line_arguments, serve.line),
        "PointsOffsetEnable": Method(2, motions.offset_targets),
        "PointsOffsetDisable": Method(0, motions.end_offset),
        "MoveC": Method(serve.arc_arguments, serve.arc),
        "Circle": Method(serve.circle_arguments, serve.circle),
        **holding(c.lock, _pauses(c)),
    }
    if version >= QUEUE_CLEAR_SINCE:
        methods["MotionQueueClear"] = Method(0, c.stop_motion)
    if version >= SERVO_SPEED_SINCE:  # without ServoMoveStart it is refused at once: that it blocks is known of ServoJ
        methods["ServoJV"] = Method(8, lambda speed, axes, acc, vel, period_s, *rest: c.servo_speed(speed, period_s))
    return methods


def _pauses(c: Controller) -> Table:
    return {
        "PauseMotion": Method(0, lambda: Code.OK if c.drives.pause() else Code.FAILED),
        "ResumeMotion": Method(0, lambda: Code.OK if c.drives.resume() else Code.FAILED),
    }


def _servo_j(c: Controller) -> Callable:
    def call(joints: list, axes: list, acc: float, vel: float, cmd_period_s: float, *rest) -> int:
        number = rest[2] if len(rest) > 2 else None  # after filterT and gain
        return c.servo_j(joints, cmd_period_s, number)

    return call


def _servo_cart(c: Controller, motions: MotionCommands) -> tuple[int, Callable]:
    """Return how many arguments the release takes, and what serves them; the period is the third from the end."""
    count = 9 if c.version >= SERVO_CART_AXES_SINCE else 8
    return count, lambda mode, pose, gains, *rest: motions.servo_cart(mode, pose, gains, rest[-3])


def _move_j(motions, joints, pose, tool, user, vel, acc, ovl, axes, blend, offset_flag, offset) -> int:  # noqa: PLR0913
    return motions.move_j(joints, Target(tool, user, vel * ovl / 100, blend, offset_of(offset_flag, offset)))


def _move_cart(motions, pose, tool, user, vel, acc, ovl, blend, config) -> int:  # noqa: PLR0913
    return motions.move_cart(pose, Target(tool, user, vel * ovl / 100, blend))


class _FlatMoves:
    """Since V3.8.5: one list of numbers. Offsets of arcs are not emulated: Code.WRONG_VALUE."""

    line_arguments = arc_arguments = circle_arguments = 1

    def __init__(self, motions: MotionCommands):
        self._motions = motions

    def line(self, n: list) -> int:
        """Move by arguments: joints 6, pose 6, tool, user, vel, acc, ovl, blendR, blendMode, axes 4, search, offset
        flag, offset 6, .."""
        if len(n) != LINE_NUMBERS:
            return Code.WRONG_VALUE
        target = Target(n[12], n[13], n[14] * n[16] / 100, n[17], offset_of(n[24], n[25:31]))
        return self._motions.move_l(n[:6], n[6:12], target)

    def arc(self, n: list) -> int:
        """Move by arguments: twice joints 6, pose 6, tool, user, vel, acc, axes 4, offset flag, offset 6; then ovl,
        blendR, oacc, mode."""
        if len(n) != ARC_NUMBERS or n[20] or n[47]:
            return Code.WRONG_VALUE
        target = Target(n[39], n[40], n[41] * n[54] / 100, n[55])
        return self._motions.move_c(n[27:33], [n[6:12], n[33:39]], target, full=False)

    def circle(self, n: list) -> int:
        """Move by arguments: twice joints 6, pose 6, tool, user, vel, acc, axes 4; then ovl, offset flag, offset 6,
        oacc, blendR, mode."""
        if len(n) != CIRCLE_NUMBERS or n[41]:
            return Code.WRONG_VALUE
        target = Target(n[32], n[33], n[34] * n[40] / 100, n[49])
        return self._motions.move_c(n[20:26], [n[6:12], n[26:32]], target, full=True)


class _SeparateMoves:
    """Before V3.8.5: arguments of their own, [tool, user, vel, acc] in a list for arcs."""

    arc_arguments, circle_arguments = 14, 11

    def __init__(self, motions: MotionCommands, version: tuple[int, int, int]):
        self._motions = motions
        self.line_arguments = 13 if version >= BLEND_MODE_SINCE else 12

    def line(self, joints, pose, tool, user, vel, acc, ovl, blend, *rest) -> int:  # noqa: PLR0913
        offset = offset_of(*rest[-2:])  # after the blend mode of some releases, axes and search
        return self._motions.move_l(joints, pose, Target(tool, user, vel * ovl / 100, blend, offset))

    def arc(self, *n) -> int:
        """Move by arguments: twice joints, pose, numbers, axes, offset flag, offset; then ovl, blendR."""
        if n[4] or n[10]:
            return Code.WRONG_VALUE
        tool, user, vel, _ = n[8]
        return self._motions.move_c(n[6], [n[1], n[7]], Target(tool, user, vel * n[12] / 100, n[13]), full=False)

    def circle(self, *n) -> int:
        """Move by arguments: twice joints, pose, numbers, axes; then ovl, offset flag, offset."""
        if n[9]:
            return Code.WRONG_VALUE
        tool, user, vel, _ = n[6]
        return self._motions.move_c(n[4], [n[1], n[5]], Target(tool, user, vel * n[8] / 100, -1.0), full=True)
