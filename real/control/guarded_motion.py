"""Moves an arm where no policy does, homing and calibration: targets at the policy's rate through the motion guard to
the servo stream."""

from collections.abc import Callable
from types import TracebackType

import numpy as np

from real.control.servo_stream import ServoStream
from real.core.clock import Ticker
from real.core.faults import RobotFault
from real.fairino.driver import FairinoDriver
from sim.core.contract import Observation
from sim.core.errors import UserError
from sim.guard.motion_guard import Distances, MotionGuard

ARRIVED_RAD = 0.03  # beside the target, friction and weight considered
SETTLE_PERIODS = 20


class GuardedArm:
    """One robot, powered on. As a context it streams from entering to leaving; who streams already calls `begin`."""

    def __init__(self, driver: FairinoDriver, stream: ServoStream, ticker: Ticker, clearance: Distances | None):
        self.robot = driver.robot
        self._driver, self._stream, self._ticker, self._clearance = driver, stream, ticker, clearance
        self._guard = MotionGuard(driver.robot, clearance)

    def __enter__(self) -> "GuardedArm":
        self._driver.settle()
        self._stream.start()
        try:
            self.begin()
        except UserError:  # nobody leaves what was not entered
            self._stream.stop()
            raise
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stream.stop()

    def begin(self, opening: float | None = None) -> None:
        """The arm stands, its stream has just started; the gripper is sent to `opening`, None: where it is.

        RobotFault when the gripper is refused.
        """
        state, _ = self._state()
        self.opening = float(state[-1]) if opening is None else opening
        self._driver.gripper.try_out(self.opening)
        self._guard.reset(state)
        self._ticker.restart()

    @property
    def commanded_rad(self) -> np.ndarray:
        return self._stream.commanded_rad

    @property
    def changed(self) -> dict[str, int]:
        """How often the guard changed what was asked, by its reasons."""
        return dict(self._guard.report.counts)

    def blocked(self, to_rad: np.ndarray) -> str:
        """What is known to stand in the straight joint line to `to_rad` (joints,); "" when nothing is."""
        return self._clearance.blocked([np.stack([self.commanded_rad, to_rad])]) if self._clearance else ""

    def go(self, to_rad: np.ndarray, each: Callable[[int], None] | None = None) -> None:
        """Slowly in a straight joint line to `to_rad` (joints,), to rest; `each` as in `play`. RobotFault when it is
        not reached."""
        start = self.commanded_rad
        step_rad = self.robot.homing_speed_rad_s * self.robot.control_period_s
        steps = int(np.ceil(np.abs(to_rad - start).max() / step_rad))
        share = np.clip(np.arange(1, steps + SETTLE_PERIODS + 1) / max(steps, 1), 0.0, 1.0)
        self.play(start + share[:, None] * (to_rad - start), each)
        away = float(np.abs(self._state()[0][:-1] - to_rad).max())
        if away > ARRIVED_RAD:
            why = ", ".join(self.changed) or "is something in the way?"
            raise RobotFault(f"a pose was not reached: {np.rad2deg(away):.1f} deg away; {why}")

    def hold(self, length_s: float) -> None:
        """Stand still."""
        self.play(np.tile(self.commanded_rad, (round(length_s / self.robot.control_period_s), 1)))

    def play(self, targets_rad: np.ndarray, each: Callable[[int], None] | None = None) -> None:
        """One target (T, joints) a policy period; `each` is told the number of every period. The gripper is sent to
        `opening`. RobotFault when the guard latches or the stream ends.
        """
        for k, target in enumerate(targets_rad):
            asked = np.array([*target, self.opening], np.float32)
            state, age_s = self._state()
            sent = self._guard.check(Observation({}, state, "", 0.0, age_s), asked)
            if self._guard.report.latched:
                raise RobotFault(f"the motion guard stopped the arm: {self._guard.report.latched}")
            self._stream.set_target(sent[:-1])
            self._driver.gripper.move(float(sent[-1]))
            if each is not None:
                each(k)
            self._ticker.wait()
            if self._stream.error is not None:
                raise self._stream.error

    def _state(self) -> tuple[np.ndarray, float]:
        state, _ = self._driver.state()
        return state, self._driver.states.age_s
