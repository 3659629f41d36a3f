"""Which sub-task an arm is at, by its fingers alone: reaching, grasping or placing."""

HELD = (0.1, 0.9)  # opening of fingers that were told to close and are stopped by what is between them
STILL = 0.01  # opening in a period
HELD_S = 1.0  # what is held for so long was grasped

REACHING = "grasping: the thing was never held"
GRASPING = "grasping: the fingers closed on nothing"
PLACING = "placing: the thing is still held"
RELEASED = "placing: the thing was let go"
WHOLE = "the whole task"


class FingerBelief:
    """Follows the fingers through an episode. held: whether they ever held something for HELD_S."""

    def __init__(self, control_hz: float):
        self._long = round(HELD_S * control_hz)
        self.reset()

    def reset(self) -> None:
        """Begin an episode."""
        self._opening, self._closed, self._held_periods, self.held = 1.0, False, 0, False

    def note(self, opening: float, commanded: float) -> None:
        """Take note of one period: the fingers as measured, and as commanded, 0 closed .. 1 open."""
        is_still = abs(opening - self._opening) < STILL
        self._opening, self._closed = opening, commanded < HELD[0]
        stopped = self._closed and HELD[0] < opening < HELD[1] and is_still
        self._held_periods = self._held_periods + 1 if stopped else 0
        self.held |= self._held_periods >= self._long

    @property
    def subtask(self) -> str:
        """Return what an arm that holds things is at."""
        if self._held_periods >= self._long:
            return PLACING
        if self._closed and self._opening <= HELD[0]:
            return GRASPING
        return RELEASED if self.held else REACHING
