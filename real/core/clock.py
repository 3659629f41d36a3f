"""A fixed-rate clock: absolute deadlines on a monotonic clock, overruns counted."""

import time
from collections.abc import Callable


class Ticker:
    """Deadlines at start + k * period. `now` and `sleep` can be replaced in tests."""

    def __init__(
        self, period_s: float, now: Callable[[], float] = time.monotonic, sleep: Callable[[float], object] = time.sleep
    ):
        self.period_s = period_s
        self.overruns = 0  # waits that began a whole period or more after their deadline
        self.worst_late_s = 0.0
        self.late_s: list[float] | None = None  # of every wait, when a list is put here
        self._now, self._sleep = now, sleep
        self.restart()

    def restart(self) -> None:
        """The first deadline is one period from now."""
        self._deadline_s = self._now() + self.period_s

    def wait(self) -> int:
        """Sleep until the next deadline; how many periods have begun since the last wait, >= 1.

        Who comes late is not made to hurry: deadlines already missed are skipped.
        """
        late_s = self._now() - self._deadline_s
        if late_s < 0:
            self._sleep(-late_s)
            late_s = max(self._now() - self._deadline_s, 0.0)
        self.worst_late_s = max(self.worst_late_s, late_s)
        if self.late_s is not None:
            self.late_s.append(late_s)
        missed = int(late_s // self.period_s)
        self.overruns += missed > 0
        self._deadline_s += (missed + 1) * self.period_s
        return missed + 1
