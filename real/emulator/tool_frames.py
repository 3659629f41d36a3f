"""Tools, work objects and load as the emulated controller keeps them."""

import numpy as np

from real.emulator.kinematics import matrix_of
from real.fairino.fault_codes import Code

IDS = range(16)  # 0 is the bare flange, or the base; the vendor's SDK documents 0 to 14 for motions and 1 to 15 here
MAX_LOAD_KG = 3.0
MAX_CENTRE_MM = 1000.0


class ToolFrames:
    """Poses [x, y, z mm, rx, ry, rz deg] by number; `tool` and `user` are the active ones."""

    def __init__(self, load_kg: float = 0.0) -> None:
        """load_kg: as somebody has entered it."""
        self.tools = {number: [0.0] * 6 for number in IDS}
        self.users = {number: [0.0] * 6 for number in IDS}
        self.tool = self.user = 0
        self.load_kg = load_kg
        self.load_mm = [0.0, 0.0, 0.0]

    def set_tool(self, number: int, pose: list, *, active: bool) -> int:
        if code := _set_pose(self.tools, number, pose, Code.WRONG_TOOL):
            return code
        self.tool = number if active else self.tool
        return Code.OK

    def set_user(self, number: int, pose: list, *, active: bool) -> int:
        if code := _set_pose(self.users, number, pose, Code.WRONG_WORK_OBJECT):
            return code
        self.user = number if active else self.user
        return Code.OK

    def choose(self, tool: int, user: int) -> int:
        """Make both active, as a motion command does."""
        if tool not in IDS:
            return Code.WRONG_TOOL
        if user not in IDS:
            return Code.WRONG_WORK_OBJECT
        self.tool, self.user = int(tool), int(user)
        return Code.OK

    def set_load(self, kg: float) -> int:
        if not 0 <= kg <= MAX_LOAD_KG:
            return Code.WRONG_VALUE
        self.load_kg = float(kg)
        return Code.OK

    def set_load_centre(self, x_mm: float, y_mm: float, z_mm: float) -> int:
        centre = [float(x_mm), float(y_mm), float(z_mm)]
        if not np.abs(centre).max() <= MAX_CENTRE_MM:
            return Code.WRONG_VALUE
        self.load_mm = centre
        return Code.OK

    def tool_from_flange(self) -> np.ndarray:
        """Return (4, 4) of the active tool's point in the flange frame."""
        return matrix_of(self.tools[self.tool])

    def base_from_user(self) -> np.ndarray:
        """Return (4, 4) of the active work object in the base frame."""
        return matrix_of(self.users[self.user])


def _set_pose(poses: dict[int, list[float]], number: int, pose: list, wrong_number: int) -> int:
    if number not in IDS[1:]:
        return wrong_number
    values = [float(value) for value in pose]
    if len(values) != 6 or not np.isfinite(values).all():
        return Code.WRONG_VALUE
    poses[int(number)] = values
    return Code.OK
