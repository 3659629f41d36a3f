"""Plausibility of state frames.

A complete, checked frame may still be wrong: the vendor's SDK writes 0 into joints 1-3 of a damaged
one, CNDE frames carry no checksum, and a stuck controller repeats itself.
"""

import numpy as np

from real.fairino.controller_state import ControllerState

JUMP_DEG = 5.0  # allowed between two frames beyond motion: noise and a late stamp
FASTEST_DEG_S = 360.0  # twice what the arm can
FARTHEST_DEG = 360.0
ACCEPTED_AFTER = 5  # consecutive frames that agree: then the arm is there, however it got there


class Plausibility:
    """The filter of one stream. Counts what it rejects."""

    def __init__(self) -> None:
        self.refused_zeros = 0
        self.refused_jumps = 0
        self.rejected_in_a_row = 0
        self.reason = ""  # of the last rejection
        self._last: ControllerState | None = None
        self._doubtful: ControllerState | None = None
        self._agreeing = 0

    def accepts(self, state: ControllerState) -> bool:
        """Return whether `state` is plausible; a sudden 0, 0, 0 never is."""
        if not np.isfinite(state.joint_deg).all() or self._is_sudden_zero(state):
            self.refused_zeros += 1
            return self._reject("joint angles jump to zero or are not finite")
        if np.abs(state.joint_deg).max() > FARTHEST_DEG or not self._is_reachable(state):
            self.refused_jumps += 1
            return self._reject("joint angles jump further than the arm can move")
        self._last, self._doubtful, self._agreeing = state, None, 0
        self.rejected_in_a_row = 0
        return True

    def _reject(self, reason: str) -> bool:
        self.rejected_in_a_row += 1
        self.reason = reason
        return False

    def _is_sudden_zero(self, state: ControllerState) -> bool:
        if state.joint_deg[:3].any():
            return False
        # The first frame cannot be compared: driver.py queries the position by XML-RPC as well.
        return self._last is not None and float(np.abs(self._last.joint_deg[:3]).max()) > JUMP_DEG

    def _is_reachable(self, state: ControllerState) -> bool:
        if self._last is None or _near(self._last, state):
            return True
        agrees = self._doubtful is not None and _near(self._doubtful, state)
        self._agreeing = self._agreeing + 1 if agrees else 1
        self._doubtful = state
        return self._agreeing >= ACCEPTED_AFTER


def _near(before: ControllerState, after: ControllerState) -> bool:
    """Return whether the arm can have moved from one to the other in the time between."""
    reach_deg = JUMP_DEG + FASTEST_DEG_S * max(after.stamp_s - before.stamp_s, 0.0)
    return float(np.abs(after.joint_deg - before.joint_deg).max()) <= reach_deg
