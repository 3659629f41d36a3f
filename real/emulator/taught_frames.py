"""Tools and work objects that are computed from points the arm was led to, by wire name.

Method 0 of a work object takes origin, a point on x, a point on z; method 1 origin, a point on x, a point of the xy
plane with y > 0 (the vendor's SDK). Four points of one tip fix a tool's position; its orientation is the flange's.
A tool's orientation from six points is not served: which way the arm is led to the last two is not documented.
"""

import numpy as np

from real.emulator import kinematics
from real.emulator.controller import Controller
from real.emulator.method_table import Method, Table
from real.emulator.motion_commands import MotionCommands
from real.fairino.fault_codes import Code

TIP_POINTS, OBJECT_POINTS = range(1, 5), range(1, 4)
Z_AXIS, XY_PLANE = 0, 1
FOUR_POINTS = 0  # the method of a tool from points given
TOOL_WITH_POINTS_SINCE = (3, 7, 8)
DISTINCT = 1e-3  # mm between points, and the sine between directions
TURNED = 0.05  # of the flange between the four points, least singular value of the differences of its rotations


class TaughtFrames:
    """Points by number, as they were recorded."""

    def __init__(self, controller: Controller, motions: MotionCommands):
        self._c, self._motions = controller, motions
        self._flanges: dict[int, np.ndarray] = {}
        self._points: dict[int, list[float]] = {}

    def methods(self) -> Table:
        with_points: Table = {"ComputeToolCoordWithPoints": Method(7, _tool_with_points, 6)}
        return {
            **(with_points if self._c.version >= TOOL_WITH_POINTS_SINCE else {}),
            "SetTcp4RefPoint": Method(1, self._record_tip),
            "ComputeTcp4": Method(0, lambda: _tool(list(self._flanges.values())), 6),
            "SetWObjCoordPoint": Method(1, self._record_point),
            "ComputeWObjCoord": Method(2, lambda method, frame: self._object(method, self._points, frame), 6),
            "ComputeWObjCoordWithPoints": Method(
                5, lambda method, *rest: self._object(method, dict(enumerate(rest[:3], 1)), rest[3]), 6
            ),
        }

    def _record_tip(self, number: int) -> int:
        if number not in TIP_POINTS:
            return Code.WRONG_VALUE
        self._flanges[int(number)] = kinematics.forward(self._c.measured_deg())
        return Code.OK

    def _record_point(self, number: int) -> int:
        if number not in OBJECT_POINTS:
            return Code.WRONG_VALUE
        self._points[int(number)] = self._motions.forward(self._c.measured_deg().tolist())
        return Code.OK

    def _object(self, method: int, points: dict[int, list[float]], frame: int) -> list[float] | Code:
        """Return the pose of the work object in the work object `frame`; points: poses in the active one."""
        if method not in (Z_AXIS, XY_PLANE):
            return Code.WRONG_VALUE
        reference = kinematics.matrix_of(self._c.frames.users[frame])
        if any(number not in points for number in OBJECT_POINTS):
            return Code.COMPUTATION_FAILED
        axes = _axes(np.array([points[number][:3] for number in OBJECT_POINTS], float), method)
        if axes is None:
            return Code.COMPUTATION_FAILED
        return kinematics.pose_of(np.linalg.inv(reference) @ self._c.frames.base_from_user() @ axes)


def _tool_with_points(method: int, *joints_deg: list) -> list[float] | Code:
    """Return the tip in the flange from the joints at its four points; those of a fifth and sixth are not read."""
    if method != FOUR_POINTS or not np.isfinite(joints_deg[: len(TIP_POINTS)]).all():
        return Code.WRONG_VALUE
    return _tool([kinematics.forward(joints) for joints in joints_deg[: len(TIP_POINTS)]])


def _tool(flanges: list[np.ndarray]) -> list[float] | Code:
    """Return the tip in the flange: the point that all poses of the flange hold in one place."""
    if len(flanges) < len(TIP_POINTS):
        return Code.COMPUTATION_FAILED
    first, *others = flanges
    turns = np.concatenate([flange[:3, :3] - first[:3, :3] for flange in others])
    shifts = np.concatenate([first[:3, 3] - flange[:3, 3] for flange in others])
    tip, _, _, singular = np.linalg.lstsq(turns, shifts)
    return [*map(float, tip), 0.0, 0.0, 0.0] if singular[-1] > TURNED else Code.COMPUTATION_FAILED


def _axes(points: np.ndarray, method: int) -> np.ndarray | None:
    """Return the (4, 4) frame of (3, 3) points; None where they lie on a line."""
    origin, on_x, third = points
    x, side = on_x - origin, third - origin
    if min(np.linalg.norm(x), np.linalg.norm(side)) < DISTINCT:
        return None
    x, side = x / np.linalg.norm(x), side / np.linalg.norm(side)
    normal = np.cross(x, side) if method == XY_PLANE else np.cross(side, x)  # z, or y
    if np.linalg.norm(normal) < DISTINCT:
        return None
    normal /= np.linalg.norm(normal)
    y, z = (np.cross(normal, x), normal) if method == XY_PLANE else (normal, np.cross(x, normal))
    frame = np.eye(4)
    frame[:3, :3], frame[:3, 3] = np.column_stack([x, y, z]), origin
    return frame
