"""Actions of any rate, played at the robot's own: one target a control period, through motion guard and servo stream.

LeRobot sends actions at 30, 50 or 60 Hz, and none while it infers, encodes videos or waits for a person. A thread
takes the newest action every control period, so that the limits hold as they do at 20 Hz. While none comes the arm
rests; after a second it leaves servo mode, in which a busy machine would end the run, until the next action.
"""

import threading
import time

import numpy as np

from real.control.gripper_pause import move_gripper, try_gripper
from real.workcell.env import RobotEnv
from sim.core.contract import Observation
from sim.core.errors import UserError
from sim.guard.motion_guard import MAX_AGE_S, MotionGuard

IDLE_S = 1.0
END_S = 10.0


class PacedMotion:
    """One connected robot, from `start` to `stop`. Actions and states (D,): rad, gripper opening 0..1."""

    def __init__(self, env: RobotEnv):
        self._env, self.guard = env, MotionGuard(env.robot, env.clearance)
        self._lock, self._ending = threading.Lock(), threading.Event()
        self._newest: tuple[np.ndarray, float, float] | None = None  # action, when it came, how late images were
        self._rests = True
        self._error: Exception | None = None
        # Commanded last: fingers that hold something are measured wider than commanded, and would let go of it.
        self._opening: float | None = None
        self._thread = threading.Thread(target=self._run, name="paced motion", daemon=True)

    def start(self) -> None:
        """Begin where the arm is, out of servo mode; nothing moves before the first action."""
        self.guard.reset(self._env.driver.state()[0])
        self._thread.start()

    def stop(self) -> None:
        """Bring the arm to rest and leave servo mode."""
        self._ending.set()
        self._thread.join(END_S)
        self._env.stream.stop()

    @property
    def rests(self) -> bool:
        """Whether no action has come lately: the arm is at rest or about to be."""
        with self._lock:
            return self._newest is None or time.monotonic() - self._newest[1] > MAX_AGE_S

    def send(self, action: np.ndarray, lag_s: float) -> np.ndarray:
        """Play `action` from the next period on; return the action that the guard let through last.

        lag_s: how old images and state were when they were read.
        """
        self.raise_error()
        with self._lock:
            self._newest = (action, time.monotonic(), lag_s)
        return self.guard.sent

    def raise_error(self) -> None:
        """Raise what ended the motion, if something did."""
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while not self._ending.is_set() and self._error is None:
            self._target_s = time.monotonic()
            try:
                self._tick()
            # Whatever it is, it is kept for LeRobot's thread; here the arm must come to rest first.
            except Exception as error:  # noqa: BLE001
                self._error = error
                self._env.stream.stop()
            # From the last target on, so that no two are nearer than a period: nothing is caught up on.
            self._ending.wait(self._target_s + self._env.robot.control_period_s - time.monotonic())

    def _tick(self) -> None:
        with self._lock:
            newest = self._newest
        stream = self._env.stream
        if error := stream.ended_by:
            raise error
        quiet_s = np.inf if newest is None else time.monotonic() - newest[1]
        if newest is None or quiet_s > MAX_AGE_S:
            self._rests = True  # the stream brakes by itself
            if quiet_s > IDLE_S:
                stream.stop()
            return
        if self._rests and stream.running and not stream.still:
            return  # it brakes still, and the guard begins anew from an arm at rest
        if self._rests:
            self._begin()
        self._lead(newest[0], newest[2])

    def _begin(self) -> None:
        """Enter servo mode if it was left; plan from where the arm rests."""
        env = self._env
        if self._opening is None:
            self._opening = float(env.driver.state()[0][-1])
        if not env.stream.running:
            env.driver.settle()
            env.stream.start()
            try_gripper(env.driver, env.stream, self._opening)
        self.guard.reset(np.array([*env.stream.commanded_rad, self._opening], np.float32))
        self._rests = False

    def _lead(self, action: np.ndarray, lag_s: float) -> None:
        env = self._env
        state, _ = env.driver.state()
        seen = Observation({}, state, "", 0.0, max(env.driver.state_age_s, lag_s))
        sent = self.guard.check(seen, action)
        if latched := self.guard.report.latched:
            raise UserError(f"the motion guard stopped the arm: {latched}; disconnect and begin anew")
        env.stream.set_target(sent[:-1])
        self._target_s = time.monotonic()
        self._opening = float(sent[-1])
        move_gripper(env.driver, env.stream, self._opening)
