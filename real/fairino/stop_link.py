"""Stops the arm on a connection of its own: StopMotion at once, then ServoMoveEnd.

A person is warned at the first call that is not answered, not after all tries: when the network is gone, only the
emergency stop is left.
"""

import logging
import time
from collections.abc import Callable

from real.core.faults import RobotFault, RobotUnreachable
from real.fairino.xmlrpc import RpcLink
from sim.core.errors import UserError

TRIES = 3
FIRST_DEADLINE_S = (
    0.5  # of the first try: with the 0.25 s that a loss takes to be noticed, the warning comes within 1 s
)
_log = logging.getLogger(__name__)


class StopLink:
    """`sent_s`: when the last StopMotion was sent, monotonic; 0 while none was."""

    def __init__(self, link: RpcLink):
        self.link = link
        self.sent_s = 0.0
        self._deadline_s = link.deadline_s
        self._warned = False

    def connect(self) -> None:
        """Open the connection before the arm moves. RobotUnreachable when the controller does not answer."""
        self.link("GetControllerIP")

    def stop(self, before_end: Callable[[], None]) -> None:
        """Send both, `before_end` called between them. From any thread.

        Each is tried TRIES times while nothing answers, the second whatever the result of the first;
        the first error is raised.
        """
        self.sent_s, self._warned = 0.0, False
        errors = [self._call_until_answered("StopMotion")]
        before_end()
        errors.append(self._call_until_answered("ServoMoveEnd"))
        for error in filter(None, errors):
            raise error

    def _call_until_answered(self, method: str) -> UserError | None:
        """Repeat the call until it is answered; returns the error when it was refused or never answered."""
        silent = None
        for number in range(TRIES):
            self.link.deadline_s = self._deadline_s if number else min(FIRST_DEADLINE_S, self._deadline_s)
            begun_s = time.monotonic()
            try:
                self.link.act(method)
            except RobotUnreachable as error:
                silent = error
                self._warn(error)
            except RobotFault as error:
                return error
            else:
                return None
            finally:
                # The link's may be that of a request before, where this one did not leave.
                if method == "StopMotion" and self.link.sent_s >= begun_s:
                    self.sent_s = self.sent_s or self.link.sent_s
        return silent

    def _warn(self, error: RobotUnreachable) -> None:
        """Warn once per stop."""
        if not self._warned:
            self._warned = True
            _log.warning("the arm may still move: a stop was not answered (%s); press the emergency stop", error)
