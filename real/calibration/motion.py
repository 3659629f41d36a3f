"""Moves the arm for calibration: targets at the policy's rate through the motion guard to the servo stream."""

from collections.abc import Callable
from types import TracebackType

import numpy as np

from real.env import RobotEnv
from real.faults import RobotFault
from sim.contract import POLICY_PERIOD_S, Observation
from sim.guard.motion_guard import MotionGuard

ARRIVED_RAD = 0.03  # beside the target, friction and weight considered
SETTLE_PERIODS = 20


class GuardedArm:
    """One robot, powered on, that streams from entering to leaving."""

    def __init__(self, env: RobotEnv):
        self.robot = env.robot
        self._env, self._guard = env, MotionGuard(env.robot, env.clearance)

    def __enter__(self) -> "GuardedArm":
        self._env.driver.settle()
        self._env.stream.start()
        self.opening = float(self._state()[0][-1])
        self._guard.reset(self._state()[0])
        self._env.ticker.restart()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._env.stream.stop()

    @property
    def commanded_rad(self) -> np.ndarray:
        return self._env.stream.commanded_rad

    @property
    def changed(self) -> dict[str, int]:
        """How often the guard changed what was asked, by its reasons."""
        return dict(self._guard.report.counts)

    def go(self, to_rad: np.ndarray) -> None:
        """Slowly in a straight joint line to `to_rad` (joints,), to rest. RobotFault when it is not reached."""
        start = self.commanded_rad
        steps = int(np.ceil(np.abs(to_rad - start).max() / (self.robot.homing_speed_rad_s * POLICY_PERIOD_S)))
        share = np.clip(np.arange(1, steps + SETTLE_PERIODS + 1) / max(steps, 1), 0.0, 1.0)
        self.play(start + share[:, None] * (to_rad - start))
        away = float(np.abs(self._state()[0][:-1] - to_rad).max())
        if away > ARRIVED_RAD:
            why = ", ".join(self.changed) or "is something in the way?"
            raise RobotFault(f"a pose was not reached: {np.rad2deg(away):.1f} deg away; {why}")

    def hold(self, length_s: float) -> None:
        """Stand still."""
        self.play(np.tile(self.commanded_rad, (round(length_s / POLICY_PERIOD_S), 1)))

    def play(self, targets_rad: np.ndarray, each: Callable[[int], None] | None = None) -> None:
        """One target (T, joints) a policy period; `each` is told the number of every period. The gripper is sent to
        `opening`. RobotFault when the guard latches or the stream ends.
        """
        for k, target in enumerate(targets_rad):
            asked = np.array([*target, self.opening], np.float32)
            state, age_s = self._state()
            sent = self._guard.check(Observation({}, state, "", 0.0, age_s), asked)
            if self._guard.report.latched:
                raise RobotFault(f"the motion guard stopped the calibration: {self._guard.report.latched}")
            self._env.stream.set_target(sent[:-1])
            self._env.driver.gripper.move(float(sent[-1]))
            if each is not None:
                each(k)
            self._env.ticker.wait()
            if self._env.stream.error is not None:
                raise self._env.stream.error

    def _state(self) -> tuple[np.ndarray, float]:
        state, _ = self._env.driver.state()
        return state, self._env.driver.states.age_s
