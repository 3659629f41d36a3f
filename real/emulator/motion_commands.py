"""Motion commands of the emulated controller: MoveJ, MoveL, MoveC, Circle, MoveCart, jogging, and its kinematics."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from real.emulator import kinematics
from real.emulator.controller import Controller
from real.emulator.target_offsets import Offset, offset_of_every
from real.emulator.trajectories import arc_path, joint_path, line_path, spline_path
from real.fairino.fault_codes import Code

POLL_S = 0.004
SETTLE_CYCLES, STILL_RAD_S = 62, 0.002  # the arm follows its command with a lag
REPORTS = 2  # states of the arm at rest that leave before the answer: clients read joints from the last one
ABSOLUTE, IN_BASE, IN_TOOL = 0, 1, 2
JOG_JOINT, JOG_BASE, JOG_TOOL, JOG_WORK_OBJECT = 0, 2, 4, 8


@dataclass(frozen=True)
class Target:
    """Where a command leads: a pose [mm, deg] of tool `tool` in work object `user`, at `percent` of full speed.

    blend: below 0 the command blocks until the motion has ended. offset: of this target, before that of every one.
    """

    tool: int
    user: int
    percent: float
    blend: float
    offset: Offset | None = None


class MotionCommands:
    """One controller's planner. Every method returns 0 or an error code."""

    def __init__(self, controller: Controller):
        self._c = controller
        self._offset_of_every: Offset | None = None

    def offset_targets(self, flag: int, pose: list) -> int:
        """Shift every target from now on."""
        self._offset_of_every = offset_of_every(flag, pose)
        return Code.OK

    def end_offset(self) -> int:
        self._offset_of_every = None
        return Code.OK

    def move_j(self, joint_deg: list, target: Target) -> int:
        """Move to joint angles."""
        c = self._c
        with c.lock:
            if code := self.refusal(joint_deg, target):
                return code
            joints = self._shifted_joints(joint_deg, target)
            if joints is None:
                return Code.UNREACHABLE
            if c.outside(joints):
                return Code.BEYOND_LIMIT
            speed = c.top_speed_deg_s * self._fraction(target.percent)
            goal_deg = c.drives.follow(joint_path(c.drives.end_deg, joints, speed))
        return self._finish(target.blend, goal_deg)

    def move_through(self, points_deg: list[list], target: Target) -> int:
        """Move through joint angles to the last of them, on a spline."""
        c = self._c
        with c.lock:
            if code := next((found for one in points_deg if (found := self.refusal(one, target))), Code.OK):
                return code
            points = [self._shifted_joints(one, target) for one in points_deg]
            if any(one is None for one in points):
                return Code.UNREACHABLE
            speed = c.top_speed_deg_s * self._fraction(target.percent)
            path = spline_path(c.drives.end_deg, np.array(points, float), speed)
            if any(c.outside(joints) for joints in path):
                return Code.BEYOND_LIMIT
            goal_deg = c.drives.follow(path)
        return self._finish(target.blend, goal_deg)

    def move_l(self, joint_deg: list, pose: list, target: Target) -> int:
        """Move along a straight line of the tool to `pose`; `joint_deg`: the solution that the client expects."""
        return self._move_cartesian(joint_deg, [pose], target, line_path)

    def move_c(self, joint_deg: list, poses: list[list], target: Target, *, full: bool) -> int:
        """Move along the circle over `poses`[0] to `poses`[1]; `full`: and on to where the arm stood before."""
        return self._move_cartesian(joint_deg, poses, target, lambda *plan: arc_path(*plan, full=full))

    def move_cart(self, pose: list, target: Target) -> int:
        """Move to a pose, by joints."""
        with self._c.lock:
            if code := self._c.frames.choose(target.tool, target.user):
                return code
            joints = self._solve(self.flange_of(pose), self._c.drives.end_deg)
            if joints is None:
                return Code.UNREACHABLE
        return self.move_j(joints.tolist(), target)

    def jog(self, frame: int, axis: int, direction: int, percent: float, distance: float) -> int:
        """Move one joint by `distance` deg, or the tool along or about one axis of `frame` by mm or deg; stops there.

        A joint stops at its soft limit. axis: 1..6; direction: 0 negative, 1 positive.
        """
        c = self._c
        if axis not in range(1, 7) or direction not in (0, 1) or not 0 < percent <= 100 or not 0 < distance < np.inf:
            return Code.WRONG_VALUE
        with c.lock:
            if code := c.refusal(automatic=False) or (Code.FAILED if c.in_motion() else Code.OK):
                return code
            change = np.zeros(6)
            change[axis - 1] = distance if direction else -distance
            start = c.drives.end_deg
            if frame == JOG_JOINT:
                goal = np.clip(start + change, c.low_deg, c.high_deg)
                c.drives.follow(joint_path(start, goal, c.top_speed_deg_s * self._fraction(percent)))
                return Code.OK
            goal_pose = self._jogged(frame, start, change)
            if goal_pose is None:
                return Code.WRONG_VALUE
            poses = [kinematics.forward(start), goal_pose]
            path = line_path(start, poses, self._fraction(percent), self._solve)
            if isinstance(path, Code):
                return path
            c.drives.follow(path)
        return Code.OK

    def servo_cart(self, mode: int, pose: list, gains: list, cmd_period_s: float) -> int:
        """Take a Cartesian target in servo mode: absolute, or a change in base or tool, each scaled by its gain."""
        c = self._c
        with c.lock:
            if code := c.refusal():
                return code
            change = np.array(pose, float) * (1.0 if mode == ABSOLUTE else np.array(gains, float))
            joints = self.inverse(mode, change.tolist(), c.drives.goal_deg)
            if isinstance(joints, int):
                return joints
        return c.servo_j(joints, cmd_period_s)

    def forward(self, joint_deg: list) -> list[float]:
        """Return the active tool's pose, in the active work object."""
        base_from_tool = kinematics.forward(joint_deg) @ self._c.frames.tool_from_flange()
        return kinematics.pose_of(np.linalg.inv(self._c.frames.base_from_user()) @ base_from_tool)

    def inverse(self, kind: int, pose: list, near_deg: np.ndarray) -> list[float] | int:
        """Return joint angles for `pose`, absolute or a change in base or tool; 112 when there are none."""
        if len(pose) != 6 or not np.isfinite(pose).all():
            return Code.WRONG_VALUE
        tool = self._c.frames.tool_from_flange()
        here, change = kinematics.forward(near_deg) @ tool, kinematics.matrix_of(pose)
        if kind == ABSOLUTE:
            flange = self.flange_of(pose)
        elif kind == IN_BASE:
            flange = kinematics.moved_in(np.eye(4), here, change) @ np.linalg.inv(tool)
        elif kind == IN_TOOL:
            flange = here @ change @ np.linalg.inv(tool)
        else:
            return Code.WRONG_VALUE
        joints = self._solve(flange, near_deg)
        return Code.UNREACHABLE if joints is None else joints.tolist()

    def flange_of(self, pose: list) -> np.ndarray:
        """Return (4, 4) of the flange in the base when the active tool is at `pose` in the active work object."""
        return self._flange_at(kinematics.matrix_of(pose))

    def _flange_at(self, user_from_tool: np.ndarray) -> np.ndarray:
        frames = self._c.frames
        return frames.base_from_user() @ user_from_tool @ np.linalg.inv(frames.tool_from_flange())

    def _shifted(self, pose: list, target: Target) -> np.ndarray:
        """Return (4, 4) of the active tool at `pose` in the active work object, with the offsets that hold."""
        shifted = kinematics.matrix_of(pose)
        for offset in filter(None, (target.offset, self._offset_of_every)):
            shifted = offset.applied_to(shifted)
        return shifted

    def _shifted_joints(self, joint_deg: list, target: Target) -> np.ndarray | None:
        """Return (6,) for the tool's pose at `joint_deg` with the offsets that hold; None where there are none."""
        joints = np.array(joint_deg, float)
        if not (target.offset or self._offset_of_every):
            return joints
        return self._solve(self._flange_at(self._shifted(self.forward(joint_deg), target)), joints)

    def _jogged(self, frame: int, start_deg: np.ndarray, change: np.ndarray) -> np.ndarray | None:
        """Return (4, 4) of the flange after the tool moved by `change` in `frame`; None for an unknown frame."""
        tool, moved = self._c.frames.tool_from_flange(), kinematics.matrix_of(change)
        here = kinematics.forward(start_deg) @ tool
        axes = {JOG_BASE: np.eye(4), JOG_WORK_OBJECT: self._c.frames.base_from_user()}
        if frame == JOG_TOOL:
            return here @ moved @ np.linalg.inv(tool)
        return kinematics.moved_in(axes[frame], here, moved) @ np.linalg.inv(tool) if frame in axes else None

    def _move_cartesian(self, joint_deg: list, poses: list[list], target: Target, plan: Callable) -> int:
        c = self._c
        with c.lock:
            if code := self.refusal(joint_deg, target):
                return code
            if any(len(pose) != 6 for pose in poses):
                return Code.WRONG_COUNT
            start_deg = c.drives.end_deg
            flanges = [kinematics.forward(start_deg), *(self._flange_at(self._shifted(pose, target)) for pose in poses)]
            path = plan(start_deg, flanges, self._fraction(target.percent), self._solve)
            if isinstance(path, Code):
                return Code.UNREACHABLE if self._solve(flanges[-1], start_deg) is None else path
            goal_deg = c.drives.follow(path)
        return self._finish(target.blend, goal_deg)

    def _solve(self, flange: np.ndarray, near_deg: np.ndarray) -> np.ndarray | None:
        return kinematics.inverse(flange, near_deg, self._c.low_deg, self._c.high_deg)

    def refusal(self, joint_deg: list, target: Target) -> int:
        """Return why a motion to these joints cannot begin now; chooses the target's tool and work object."""
        c = self._c
        if code := c.refusal():
            return code
        if c.in_servo:
            return Code.FAILED
        if len(joint_deg) != len(c.low_deg):
            return Code.WRONG_COUNT
        if not np.isfinite(joint_deg).all() or not 0 < target.percent <= 100:
            return Code.WRONG_VALUE
        return c.frames.choose(target.tool, target.user)

    def _fraction(self, percent: float) -> float:
        return percent / 100 * self._c.speeds_percent[self._c.robot_mode] / 100

    def _finish(self, blend: float, goal_deg: np.ndarray) -> int:
        """Wait for the end where the client blocks; 14 when something stopped the arm before `goal_deg`, also before
        this was called.

        Counted in cycles, not in seconds: on a machine that stalls the arm moves on later.
        """
        if blend >= 0:
            return Code.OK
        c = self._c
        _wait_until(lambda: not c.drives.path_cycles)
        settled = c.cycles + SETTLE_CYCLES
        _wait_until(lambda: np.abs(c.twin.speed_rad_s()).max() <= STILL_RAD_S or c.cycles >= settled)
        reported = c.reports + REPORTS
        _wait_until(lambda: c.reports >= reported)
        stopped = np.abs(c.drives.target_deg - goal_deg).max() > 0.1
        return Code.FAILED if stopped else Code.OK


def _wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(POLL_S)
