"""Gripper commands in a thread of their own: RS485 behind the controller is slow, and the ServoJ stream must not wait.

The latest target wins; targets in between are never sent.
"""

import threading

from real.core.faults import RobotFault, RobotUnreachable
from real.fairino.controller_state import ControllerState
from real.fairino.fault_codes import Code, ControllerFault
from real.fairino.xmlrpc import RpcLink
from sim.core.errors import UserError

FULL_SPEED_PERCENT, FORCE_PERCENT = 100, 50
MAX_TIME_MS = 5000
PAUSED_CHANGE_PERCENT = 20  # where the stream pauses for every command
MIN_CHANGE_PERCENT = 2  # a policy's output fluctuates; smaller changes are not sent
NON_BLOCKING = 1
ACTIVATE = 1
# Users report that older releases refuse it in servo mode, without a number; V3.9.7 was seen to accept it.
REMEDY = (
    "check its cable, its 24 V and robot.gripper_index and activate it on the web page; "
    "if it moves from there, this release moves none while the arm is streamed: update the controller (V3.9.7 does)"
)


class GripperWorker:
    """Sends MoveGripper from a thread of its own. Openings 0 (closed) .. 1 (open)."""

    def __init__(self, link: RpcLink, index: int):
        self._link, self._index = link, index
        self._changed = threading.Condition()
        self._target: int | None = None  # percent
        self._sent: int | None = None
        self._busy = False
        self._error: UserError | None = None
        self._ending = False
        self.sent = 0
        self.needs_pause = False  # this release refuses MoveGripper in servo mode: see real.control.gripper_pause
        self._thread = threading.Thread(target=self._run, name="gripper", daemon=True)
        self._thread.start()

    def activate(self, state: ControllerState | None = None) -> None:
        """Send ActGripper, unless it is active by `state`.

        Some grippers travel their whole stroke on it: only with free fingers and after a confirmation.
        """
        if state is not None and state.gripper_active >> self._index & 1:
            return
        self._link.act("ActGripper", self._index, ACTIVATE)

    def refuses_while_streaming(self, error: RobotFault) -> bool:
        """Return whether `error` is how older releases refuse MoveGripper in servo mode."""
        return error.code == Code.GRIPPER_FAULT

    def move(self, opening: float) -> None:
        """Set the target opening; returns at once."""
        with self._changed:
            self._target = _percent(opening)
            self._changed.notify_all()

    def move_and_wait(self, opening: float) -> None:
        """Set the target opening and wait for the answer; only while no other target is set.

        RobotFault, with the remedy, where the gripper is refused; older releases refuse it in servo mode.
        """
        percent = _percent(opening)
        self._send(percent)
        with self._changed:
            self._target = self._sent = percent

    def drop(self) -> None:
        """Forget a target that the worker has not begun to send; returns at once. What waits for a pause stays: the
        stream's own thread sends that."""
        with self._changed:
            if not self.needs_pause:
                self._target = self._sent

    def clear(self) -> None:
        """Drop the target, as before an episode; waits for a call in progress."""
        with self._changed:
            self._target = self._sent = None
            self._changed.wait_for(lambda: not self._busy, self._link.deadline_s)

    def raise_fault(self) -> None:
        """Raise the error that ended the worker, if one did."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        self._thread.join(self._link.deadline_s + 1.0)
        self._link.close()

    def _run(self) -> None:
        while (percent := self._take()) is not None:
            try:
                self._send(percent)
            except (RobotFault, RobotUnreachable) as error:
                self._error = error
            with self._changed:
                self._busy = False
                self._changed.notify_all()
            if self._error is not None:
                return
            self.sent += 1

    def _send(self, percent: int) -> None:
        try:
            self._link.act(
                "MoveGripper", self._index, percent, FULL_SPEED_PERCENT, FORCE_PERCENT,
                MAX_TIME_MS, NON_BLOCKING, 0, 0.0, 0, 0,
            )  # fmt: skip
        except RobotFault as error:
            if error.code != Code.GRIPPER_FAULT:
                raise
            raise ControllerFault(f"MoveGripper refused ({REMEDY})", Code.GRIPPER_FAULT) from error

    def _take(self) -> int | None:
        """Return the next target that is to be sent; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._ending or (self._is_due() and not self.needs_pause))
            if self._ending:
                return None
            self._sent, self._busy = self._target, True
            return self._sent

    def _is_due(self) -> bool:
        if self._target is None or self._target == self._sent:
            return False
        at_end, least = self._target in (0, 100), PAUSED_CHANGE_PERCENT if self.needs_pause else MIN_CHANGE_PERCENT
        return self._sent is None or at_end or abs(self._target - self._sent) >= least

    @property
    def due_in_pause(self) -> bool:
        """Whether a target waits for a pause of the stream."""
        return self.needs_pause and self._is_due()

    def send_in_pause(self) -> None:
        """Send the target that waits. RobotFault, with the remedy, where it is refused."""
        if self._target is not None:
            self._send(self._target)
            self._sent = self._target


def _percent(opening: float) -> int:
    return round(100 * min(max(float(opening), 0.0), 1.0))
