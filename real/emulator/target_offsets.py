"""Offsets of the emulated controller's targets: of one motion (`offset_flag`), or of every one (PointsOffsetEnable).

A rotation turns the tool where it is, about the axes that the offset names; the order beside a rotated target is ours,
the vendor documents the axes alone.
"""

from dataclasses import dataclass

import numpy as np

from real.emulator import kinematics

NONE, IN_WORK_OBJECT, IN_TOOL = 0, 1, 2  # offset_flag of a motion
EVERY_IN_WORK_OBJECT, EVERY_IN_TOOL = 0, 2  # flag of PointsOffsetEnable


@dataclass(frozen=True)
class Offset:
    """A change (4, 4) in mm along and about the axes of the work object, or with `in_tool` of the tool."""

    change: np.ndarray
    in_tool: bool

    def applied_to(self, pose: np.ndarray) -> np.ndarray:
        """Return (4, 4) the shifted pose of the tool in the work object."""
        return pose @ self.change if self.in_tool else kinematics.moved_in(np.eye(4), pose, self.change)


def offset_of(flag: int, pose: list) -> Offset | None:
    """Return the offset of a motion's flag and pose [mm, deg]; ValueError for those that the vendor does not name."""
    if flag == NONE:
        return None
    if flag not in (IN_WORK_OBJECT, IN_TOOL) or len(pose) != 6 or not np.isfinite(pose).all():
        raise ValueError(f"offset {flag} {pose}: expected flag 0, 1 or 2 and 6 numbers")
    return Offset(kinematics.matrix_of(pose), flag == IN_TOOL)


def offset_of_every(flag: int, pose: list) -> Offset | None:
    """Return the offset that PointsOffsetEnable sets; ValueError as `offset_of`."""
    return offset_of({EVERY_IN_WORK_OBJECT: IN_WORK_OBJECT, EVERY_IN_TOOL: IN_TOOL}.get(flag, -1), pose)
