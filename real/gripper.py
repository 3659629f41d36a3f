"""The gripper's own worker: RS485 behind the controller is slow, the ServoJ stream must not wait.

The latest target wins; what was asked in between is never sent.
"""

import threading

from real.faults import RobotFault, RobotSilent
from real.rpc import RpcLink
from sim.errors import UserError

FULL_SPEED_PERCENT, FORCE_PERCENT = 100, 50
MAX_TIME_MS = 5000
NON_BLOCKING = 1
ACTIVATE = 1


class GripperWorker:
    """Sends MoveGripper from a thread of its own. Openings 0 (closed) .. 1 (open)."""

    def __init__(self, link: RpcLink, index: int):
        self._link, self._index = link, index
        self._changed = threading.Condition()
        self._target: int | None = None  # percent
        self._error: UserError | None = None
        self._ending = False
        self.sent = 0
        self._thread = threading.Thread(target=self._run, name="gripper", daemon=True)
        self._thread.start()

    def activate(self) -> None:
        """ActGripper. Some grippers travel their whole stroke on it: only with free fingers."""
        self._link.act("ActGripper", self._index, ACTIVATE)

    def move(self, opening: float) -> None:
        """Ask for an opening; returns at once."""
        percent = round(100 * min(max(float(opening), 0.0), 1.0))
        with self._changed:
            self._target = percent
            self._changed.notify()

    def forget(self) -> None:
        """Drop what was asked and not sent yet, as before a new episode."""
        with self._changed:
            self._target = None

    def raise_fault(self) -> None:
        """The error that ended the worker, if one did."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._thread.join(self._link.deadline_s + 1.0)
        self._link.close()

    def _run(self) -> None:
        sent_percent = None
        while (percent := self._next(sent_percent)) is not None:
            try:
                self._link.act(
                    "MoveGripper", self._index, percent, FULL_SPEED_PERCENT, FORCE_PERCENT,
                    MAX_TIME_MS, NON_BLOCKING, 0, 0.0, 0, 0,
                )  # fmt: skip
            except (RobotFault, RobotSilent) as error:
                self._error = error
                return
            sent_percent = percent
            self.sent += 1

    def _next(self, sent_percent: int | None) -> int | None:
        """The next target that differs from the one sent; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._ending or self._target not in (None, sent_percent))
            return None if self._ending else self._target
