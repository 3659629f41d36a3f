"""Tools, work objects and load as the emulated controller keeps them."""

import numpy as np

from real.emulator.kinematics import matrix_of

IDS = range(15)  # 0 is the bare flange, or the base
MAX_LOAD_KG = 3.0
OK, BAD_VALUE, WRONG_TOOL, WRONG_USER = 0, 4, 37, 34


class Tooling:
    """Poses [x, y, z mm, rx, ry, rz deg] by number; `tool` and `user` are the active ones."""

    def __init__(self) -> None:
        self.tools = {number: [0.0] * 6 for number in IDS}
        self.users = {number: [0.0] * 6 for number in IDS}
        self.tool = self.user = 0
        self.load_kg = 0.0
        self.load_mm = [0.0, 0.0, 0.0]

    def set_tool(self, number: int, pose: list, *, active: bool) -> int:
        if number not in IDS[1:] or len(pose) != 6 or not np.isfinite(pose).all():
            return WRONG_TOOL if number not in IDS[1:] else BAD_VALUE
        self.tools[number] = [float(value) for value in pose]
        self.tool = number if active else self.tool
        return OK

    def choose(self, tool: int, user: int) -> int:
        """Make both active, as a motion command does."""
        if tool not in IDS:
            return WRONG_TOOL
        if user not in IDS:
            return WRONG_USER
        self.tool, self.user = tool, user
        return OK

    def set_load(self, kg: float) -> int:
        if not 0 <= kg <= MAX_LOAD_KG:
            return BAD_VALUE
        self.load_kg = float(kg)
        return OK

    def set_load_centre(self, x_mm: float, y_mm: float, z_mm: float) -> int:
        self.load_mm = [float(x_mm), float(y_mm), float(z_mm)]
        return OK

    def tool_from_flange(self) -> np.ndarray:
        """(4, 4) of the active tool's point in the flange frame."""
        return matrix_of(self.tools[self.tool])

    def base_from_user(self) -> np.ndarray:
        """(4, 4) of the active work object in the base frame."""
        return matrix_of(self.users[self.user])
