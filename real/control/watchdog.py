"""Stops the arm when the servo stream fails: a controller need not have a watchdog of its own.

A thread of its own with a connection of its own. It stops the arm on a fault in the state, on stale
state, when the servo thread hangs, and on request (`trip`). A silence is seen from either side: after one of the whole
process (Ctrl-Z and `fg`, a suspended computer) the servo thread may be the first to wake.
"""

import threading
import time

from real.core.faults import RobotUnreachable
from real.core.robot_driver import RobotDriver

CHECK_S = 0.02
MAX_BEAT_AGE_S = 0.25  # the servo thread beats every 8 ms
END_S = 5.0
# Linux's monotonic clock stands still while the computer is suspended.
CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Watchdog:
    """Watches one driver from `arm` to `disarm`.

    reason: why it stopped the arm. stop_failure: why the stop was not acknowledged (yet), "" once it was. stops: it is
    the one who stops; a reason that comes after `disarm` is left to its caller.
    """

    def __init__(self, driver: RobotDriver):
        self._driver = driver
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self.tripped = threading.Event()
        self.reason: Exception | None = None
        self.stop_failure = ""
        self.stops = False
        self.due_s = 0.0  # when the stop became due, monotonic; for a fault, when its frame arrived

    def arm(self) -> None:
        """Start watching; the servo thread must `beat` from now on."""
        self.reason, self.stop_failure, self.stops = None, "no answer to it yet", False
        # A new one: to clear it takes the lock that `trip` waits for, and a signal's handler trips inside this thread.
        self.tripped = threading.Event()
        self._beat_s = time.clock_gettime(CLOCK)
        self._driver.watch(self.trip)
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._thread.start()

    def beat(self) -> None:
        """Record a sign of life of the servo thread, and trip where it comes too late."""
        self._check_silence()
        self._beat_s = time.clock_gettime(CLOCK)

    def trip(self, reason: Exception, due_s: float | None = None) -> None:
        """Stop the arm now, from any thread; the first reason is kept. due_s: since when (monotonic)."""
        with self._lock:
            if self.reason is None:
                self.reason, self.due_s = reason, time.monotonic() if due_s is None else due_s
        self.tripped.set()

    def disarm(self) -> None:
        """End; waits for a stop in progress."""
        self._driver.watch(None)
        self.tripped.set()  # wakes the thread
        if self._thread is not None:
            self._thread.join(END_S)

    def _run(self) -> None:
        while not self.tripped.wait(CHECK_S):
            self._check()
        with self._lock:
            reason, self.stops = self.reason, self.reason is not None
        if reason is not None:
            self._stop(reason)

    def _stop(self, reason: Exception) -> None:
        try:
            self._driver.stop()
            self.stop_failure = ""
        # Whatever it is must be told: the arm may still move.
        except Exception as error:  # noqa: BLE001
            self.stop_failure = str(error) or type(error).__name__
            reason.add_note(f"and the stop itself failed: {self.stop_failure}")

    def _check(self) -> None:
        try:
            self._driver.state()
        # An error that is no UserError, too, leaves nobody who watches.
        except Exception as error:  # noqa: BLE001
            self.trip(error)
        self._check_silence()

    def _check_silence(self) -> None:
        age_s = time.clock_gettime(CLOCK) - self._beat_s
        if age_s > MAX_BEAT_AGE_S:
            self.trip(
                RobotUnreachable(f"the servo thread has been silent for {age_s:.2f} s, limit {MAX_BEAT_AGE_S:g} s")
            )
