"""Planned motion on the emulated controller: what MoveJ, MoveL, MoveCart and the kinematics calls do."""

import time

import numpy as np

from real.emulator import kinematics
from real.emulator.controller import BAD_COUNT, BAD_VALUE, BEYOND_LIMIT, FAILED, OK, Controller
from real.emulator.plans import UNREACHABLE, joint_path, line_path

POLL_S = 0.004
SETTLE_S, STILL_RAD_S = 0.5, 0.002  # the arm follows its command with a lag
STEP_DEG = 4.0  # of a joint in one cycle along a line; more and the pose is near a singularity
ABSOLUTE, IN_BASE, IN_TOOL = 0, 1, 2


class Moves:
    """One controller's planner. Every method answers 0 or an error code."""

    def __init__(self, controller: Controller):
        self._c = controller

    def move_j(self, joint_deg: list, tool: int, user: int, percent: float, blend: float) -> int:
        """To joint angles; percent of full speed, before the controller's own override."""
        c = self._c
        with c.lock:
            if code := self._refusal(joint_deg, tool, user, percent):
                return code
            if c.outside(np.array(joint_deg, float)):
                return BEYOND_LIMIT
            speed = c.top_speed_deg_s * self._fraction(percent)
            c.drives.follow(joint_path(c.drives.end_deg, np.array(joint_deg, float), speed))
        return self._finish(blend)

    def move_l(self, joint_deg: list, pose: list, tool: int, user: int, percent: float, blend: float) -> int:
        """Along a straight line of the tool to `pose`; `joint_deg` says which solution the client expects."""
        c = self._c
        with c.lock:
            if code := self._refusal(joint_deg, tool, user, percent) or (BAD_COUNT if len(pose) != 6 else OK):
                return code
            start_deg = c.drives.end_deg
            ends = (kinematics.forward(start_deg), self.flange_of(pose))
            path = line_path(start_deg, ends, self._fraction(percent), self._solve, np.full(6, STEP_DEG))
            if isinstance(path, int):
                return UNREACHABLE if self._solve(ends[1], start_deg) is None else path
            c.drives.follow(path)
        return self._finish(blend)

    def move_cart(self, pose: list, tool: int, user: int, percent: float, blend: float) -> int:
        """Joint motion to a pose."""
        with self._c.lock:
            if code := self._c.tooling.choose(tool, user):
                return code
            joints = self._solve(self.flange_of(pose), self._c.drives.end_deg)
            if joints is None:
                return UNREACHABLE
        return self.move_j(joints.tolist(), tool, user, percent, blend)

    def forward(self, joint_deg: list) -> list[float]:
        """The active tool's pose, in the active work object."""
        base_from_tool = kinematics.forward(joint_deg) @ self._c.tooling.tool_from_flange()
        return kinematics.pose_of(np.linalg.inv(self._c.tooling.base_from_user()) @ base_from_tool)

    def inverse(self, kind: int, pose: list, near_deg: np.ndarray) -> list[float] | int:
        """Joint angles for `pose`, absolute or a change in base or tool; 112 when there are none."""
        here = kinematics.forward(near_deg)
        tool = self._c.tooling.tool_from_flange()
        change = kinematics.matrix_of(pose)
        if kind == ABSOLUTE:
            flange = self.flange_of(pose)
        elif kind == IN_BASE:
            moved = here @ tool
            moved[:3, 3] += change[:3, 3]
            moved[:3, :3] = change[:3, :3] @ moved[:3, :3]
            flange = moved @ np.linalg.inv(tool)
        elif kind == IN_TOOL:
            flange = here @ tool @ change @ np.linalg.inv(tool)
        else:
            return BAD_VALUE
        joints = self._solve(flange, near_deg)
        return UNREACHABLE if joints is None else joints.tolist()

    def flange_of(self, pose: list) -> np.ndarray:
        """(4, 4) of the flange in the base when the active tool is at `pose` in the active work object."""
        tooling = self._c.tooling
        return tooling.base_from_user() @ kinematics.matrix_of(pose) @ np.linalg.inv(tooling.tool_from_flange())

    def _solve(self, flange: np.ndarray, near_deg: np.ndarray) -> np.ndarray | None:
        return kinematics.inverse(flange, near_deg, self._c.low_deg, self._c.high_deg)

    def _refusal(self, joint_deg: list, tool: int, user: int, percent: float) -> int:
        c = self._c
        if code := c.refusal():
            return code
        if c.in_servo:
            return FAILED
        if len(joint_deg) != len(c.low_deg):
            return BAD_COUNT
        if not np.isfinite(joint_deg).all() or not 0 < percent <= 100:
            return BAD_VALUE
        return c.tooling.choose(tool, user)

    def _fraction(self, percent: float) -> float:
        return percent / 100 * self._c.speed_percent / 100

    def _finish(self, blend: float) -> int:
        """Wait for the end where the client blocks. 14 when something stopped the arm on the way."""
        if blend >= 0:
            return OK
        goal_deg = self._c.drives.end_deg
        while self._c.drives.path_cycles:
            time.sleep(POLL_S)
        ends_s = time.monotonic() + SETTLE_S
        while np.abs(self._c.twin.speed_rad_s()).max() > STILL_RAD_S and time.monotonic() < ends_s:
            time.sleep(POLL_S)
        stopped = np.abs(self._c.drives.target_deg - goal_deg).max() > 0.1
        return FAILED if stopped else OK
