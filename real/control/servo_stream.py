"""The servo thread: policy targets in, one command every servo period out.

When the policy stops sending, the arm decelerates along its path; on stale state, on a fault or on
any exception the arm is stopped at once, from here or from the watchdog.
"""

import threading
import time

import numpy as np

from real.control.watchdog import Watchdog
from real.core.faults import RobotFault, RobotUnreachable
from real.core.priority import without_long_collections
from real.core.rate import Rate
from real.core.robot_driver import RobotDriver
from sim.control.servo import Servo
from sim.core.errors import UserError

SILENT_PERIODS = 2  # of a policy without a target
DECELERATION_S = 1.0
END_S = 5.0  # beyond that, to leave servo mode
STILL_RAD_S = 1e-6


class ServoStream:
    """Streams to one driver from `start` to `stop`.

    error: why it ended by itself. stop_failure: why the last stop was not acknowledged, so that the arm may still be in
    servo mode; "" once it was.
    """

    def __init__(self, driver: RobotDriver):
        self._driver = driver
        self._servo = Servo(driver.robot)
        self._silent_s = SILENT_PERIODS * driver.robot.control_period_s
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()
        self.watchdog = Watchdog(driver)
        self.error: Exception | None = None
        self.stop_failure = ""
        # A stop that is due ends the wait for the next tick.
        self.rate = Rate(driver.robot.servo_period_s, sleep=lambda left_s: self.watchdog.tripped.wait(left_s))
        self.sent = 0
        self.slowest_call_s = 0.0
        self.send_delay_s = self._sent_for_s = (
            0.0  # from the newest target to its first ServoJ, and the time of that target
        )

    @property
    def running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    @property
    def ended_by(self) -> Exception | None:
        """Why it ended, or is about to end, by itself: the stop for it may be under way still."""
        return self.error or self.watchdog.reason

    @property
    def still(self) -> bool:
        """Whether what is commanded rests."""
        with self._lock:
            return self._is_still()

    @property
    def commanded_rad(self) -> np.ndarray:
        with self._lock:
            return self._servo.position_rad

    def start(self) -> None:
        """Enter servo mode at the present position and hold it. RobotFault where the last stream has not ended yet."""
        self._raise_if_running()
        before, self.stop_failure = self.stop_failure, "servo mode may have begun"
        try:
            self._servo.reset(self._driver.start_servo())
        except UserError:  # the driver has left servo mode again
            self.stop_failure = before
            raise
        self.error, self.stop_failure = None, "the servo thread has not ended"
        self._ending.clear()
        self._target_at_s = time.monotonic()
        self.watchdog.arm()
        self._thread = threading.Thread(target=self._run, name="servo", daemon=True)
        self._thread.start()

    def set_target(self, joints_rad: np.ndarray) -> None:
        """Take a new policy target, (joints,) rad, to be reached within one policy period."""
        with self._lock:
            self._servo.set_target(joints_rad)
            self._target_at_s = time.monotonic()

    def stop(self) -> None:
        """Decelerate to rest, leave servo mode, end the thread. Safe to call at any time, also twice."""
        if self._thread is None:
            return
        with self._lock:
            self._servo.stop()
        self._ending.set()
        self._thread.join(DECELERATION_S + END_S)
        if not self._thread.is_alive():
            self._thread = None

    def pause(self) -> None:
        """Stop as `stop` does, before what servo mode does not allow. Raises what the arm was stopped for meanwhile, or
        before: the next `start` forgets it. RobotFault where the stream has not ended."""
        self.stop()
        if self.error is not None:
            raise self.error
        self._raise_if_running()

    def stop_again(self) -> None:
        """Repeat, after `stop`, what was not acknowledged; `stop_failure` is the result."""
        if self.stop_failure:
            try:
                self._driver.stop()
                self.stop_failure = ""
            except UserError as error:
                self.stop_failure = str(error)

    def halt(self, why: str) -> RobotFault:
        """Send StopMotion now, from any thread; returns the fault that becomes `error`. For an operator's stop key."""
        reason = RobotFault(why)
        self.watchdog.trip(reason)
        return reason

    def _raise_if_running(self) -> None:
        if self.running:
            raise RobotFault("the last servo thread has not ended: its stop is still being repeated")

    def _run(self) -> None:
        try:
            with without_long_collections():
                self._tick_until_at_rest()
        # The error is kept for the main thread; here the arm must be stopped first.
        except Exception as error:  # noqa: BLE001
            self.watchdog.trip(error)
        finally:
            self._leave_servo_mode()

    def _tick_until_at_rest(self) -> None:
        self.rate.reset()
        rest_by_s = None
        while not (self._ending.is_set() and self._is_at_rest(rest_by_s)):
            if self._ending.is_set() and rest_by_s is None:
                rest_by_s = time.monotonic() + DECELERATION_S
            self._tick()
            self.rate.sleep()

    def _tick(self) -> None:
        self.watchdog.beat()
        if self.watchdog.reason is not None:
            raise self.watchdog.reason
        with self._lock:
            target_at_s = self._target_at_s
            silent = time.monotonic() - target_at_s > self._silent_s
            if silent and not self._is_still():
                self._servo.stop()
            command = self._servo.tick()
        self._driver.raise_fault()  # also RobotUnreachable when the state is stale
        before_s = time.monotonic()
        self._driver.servo(command)
        self.slowest_call_s = max(self.slowest_call_s, time.monotonic() - before_s)
        if target_at_s != self._sent_for_s:
            self._sent_for_s, self.send_delay_s = target_at_s, time.monotonic() - target_at_s
        self.sent += 1

    def _is_still(self) -> bool:
        return float(np.abs(self._servo.velocity_rad_s).max()) < STILL_RAD_S

    def _is_at_rest(self, rest_by_s: float | None) -> bool:
        with self._lock:
            at_rest = self._is_still()
        return at_rest or (rest_by_s is not None and time.monotonic() > rest_by_s)

    def _leave_servo_mode(self) -> None:
        """Disarm the watchdog; what it has stopped is not stopped twice, and its reason takes precedence."""
        self.watchdog.disarm()
        self.error = self.watchdog.reason
        if self.watchdog.stops:
            self.stop_failure = self.watchdog.stop_failure
            return
        try:
            self._driver.stop()
            self.stop_failure = ""
        except (RobotFault, RobotUnreachable) as error:
            self.error, self.stop_failure = self.error or error, str(error)
