"""Splines of the emulated controller by wire name: points are gathered, and at the end the arm goes through all.

What the vendor's controller does between them is not documented. Here it is a cubic spline in joint space, at rest at
both ends, no faster than a joint motion; "arc transitions" are taken as the same. The end waits for the motion's.
"""

import logging

from real.emulator.method_table import Method, Table
from real.emulator.motion_commands import MotionCommands, Target
from real.fairino.fault_codes import Code

_log = logging.getLogger(__name__)

ARCS, THROUGH_POINTS = 0, 1  # of NewSplineStart


class Splines:
    """The spline that a client is describing."""

    def __init__(self, motions: MotionCommands):
        self._motions, self._points = motions, []
        self._target = Target(0, 0, 100.0, -1.0)
        self._begun = False

    def methods(self) -> Table:
        return {
            "SplineStart": Method(0, self._begin),
            "SplinePTP": Method(7, self._add_joints),
            "SplineEnd": Method(0, self._end),
            "NewSplineStart": Method(2, self._begin_new),
            "NewSplinePoint": Method(9, self._add_new),
            "NewSplineEnd": Method(0, self._end),
        }

    def _begin(self) -> int:
        self._points, self._begun = [], True
        return Code.OK

    def _begin_new(self, kind: int, average_time_ms: int) -> int:
        if kind not in (ARCS, THROUGH_POINTS) or average_time_ms <= 0:
            return Code.WRONG_VALUE
        if kind == ARCS:
            _log.info("NewSplineStart: arc transitions are not emulated, the arm goes through the points")
        return self._begin()

    def _add_joints(self, joints, pose, tool, user, vel, acc, ovl) -> int:  # noqa: PLR0913
        return self._add(joints, tool, user, vel * ovl)

    def _add_new(self, joints, pose, tool, user, vel, acc, ovl, blend, is_last) -> int:  # noqa: PLR0913
        """Add a point; vel and acc: not open yet, as the SDK says."""
        return self._add(joints, tool, user, 100.0 * ovl) if is_last in (0, 1) else Code.WRONG_VALUE

    def _add(self, joints: list, tool: int, user: int, percents: float) -> int:
        if not self._begun:
            return Code.FAILED
        self._target = Target(tool, user, percents / 100, -1.0)
        if code := self._motions.refusal(joints, self._target):
            return code
        self._points.append(joints)
        return Code.OK

    def _end(self) -> int:
        points, self._points, self._begun = self._points, [], False
        return self._motions.move_through(points, self._target) if points else Code.FAILED
