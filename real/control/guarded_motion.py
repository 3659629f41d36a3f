"""Motion without a policy, for homing and calibration: targets at the policy's rate through the motion guard to the
servo stream."""

from collections.abc import Callable
from types import TracebackType

import numpy as np

from real.control.gripper_pause import move_gripper, try_gripper
from real.control.servo_stream import ServoStream
from real.core.faults import RobotFault
from real.core.rate import Rate
from real.core.robot_driver import RobotDriver
from sim.core.contract import Observation
from sim.core.errors import UserError
from sim.guard.motion_guard import Distances, MotionGuard

ARRIVED_RAD = 0.03  # distance from the target, allowing for friction and weight
SETTLE_PERIODS = 20


class GuardedArm:
    """One robot, powered on. Streams while its context is open; a caller that streams already calls `begin`."""

    def __init__(self, driver: RobotDriver, stream: ServoStream, rate: Rate, clearance: Distances | None):
        self.robot = driver.robot
        self._driver, self._stream, self._rate, self._clearance = driver, stream, rate, clearance
        self._guard = MotionGuard(driver.robot, clearance)

    def __enter__(self) -> "GuardedArm":
        self._driver.settle()
        self._stream.start()
        try:
            self.begin()
        except UserError:  # __exit__ is not called
            self._stream.stop()
            raise
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stream.stop()

    def begin(self, opening: float | None = None) -> None:
        """Start at rest, with a stream that has just started; the gripper moves to `opening`, None: stays where it is.

        RobotFault when the gripper is refused.
        """
        state, _ = self._state()
        self.opening = float(state[-1]) if opening is None else opening
        try_gripper(self._driver, self._stream, self.opening)
        self._guard.reset(state)
        self._rate.reset()

    @property
    def commanded_rad(self) -> np.ndarray:
        return self._stream.commanded_rad

    @property
    def guard_counts(self) -> dict[str, int]:
        """How often the guard changed a target, by its reasons."""
        return dict(self._guard.report.counts)

    def blocked(self, to_rad: np.ndarray) -> str:
        """Return the known obstacle on the straight line in joint space to `to_rad` (joints,); "" when there
        is none."""
        return self._clearance.blocked([np.stack([self.commanded_rad, to_rad])]) if self._clearance else ""

    def move_to(self, to_rad: np.ndarray, each: Callable[[int], None] | None = None) -> None:
        """Move slowly in a straight line in joint space to `to_rad` (joints,) and rest; `each` as in `track`.

        RobotFault when it is not reached.
        """
        start = self.commanded_rad
        step_rad = self.robot.homing_speed_rad_s * self.robot.control_period_s
        steps = int(np.ceil(np.abs(to_rad - start).max() / step_rad))
        share = np.clip(np.arange(1, steps + SETTLE_PERIODS + 1) / max(steps, 1), 0.0, 1.0)
        self.track(start + share[:, None] * (to_rad - start), each)
        away = float(np.abs(self._state()[0][:-1] - to_rad).max())
        if away > ARRIVED_RAD:
            why = ", ".join(self.guard_counts) or "is something in the way?"
            raise RobotFault(f"a pose was not reached: {np.rad2deg(away):.1f} deg away; {why}")

    def hold(self, length_s: float) -> None:
        """Stay at rest."""
        self.track(np.tile(self.commanded_rad, (round(length_s / self.robot.control_period_s), 1)))

    def track(self, targets_rad: np.ndarray, each: Callable[[int], None] | None = None) -> None:
        """Track one target (T, joints) per policy period; `each` is called with the number of every period. The gripper
        moves to `opening`. RobotFault when the guard latches or the stream ends.
        """
        for k, target in enumerate(targets_rad):
            requested = np.array([*target, self.opening], np.float32)
            state, age_s = self._state()
            sent = self._guard.check(Observation({}, state, "", 0.0, age_s), requested)
            if self._guard.report.latched:
                raise RobotFault(f"the motion guard stopped the arm: {self._guard.report.latched}")
            self._raise_error()  # before the gripper, too: it is not the stream that commands it
            self._stream.set_target(sent[:-1])
            move_gripper(self._driver, self._stream, float(sent[-1]))
            if each is not None:
                each(k)
            self._rate.sleep()
            self._raise_error()

    def _raise_error(self) -> None:
        if error := self._stream.ended_by:
            raise error

    def _state(self) -> tuple[np.ndarray, float]:
        state, _ = self._driver.state()
        return state, self._driver.state_age_s
