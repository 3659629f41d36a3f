"""A fixed-rate loop: absolute deadlines on a monotonic clock, overruns counted."""

import time
from collections.abc import Callable


class Rate:
    """Deadlines at start + k * period. `now` and `sleep` can be replaced in tests."""

    def __init__(
        self, period_s: float, now: Callable[[], float] = time.monotonic, sleep: Callable[[float], object] = time.sleep
    ):
        self.period_s = period_s
        self.overruns = 0  # calls of `sleep` that began a whole period or more after their deadline
        self.max_lateness_s = 0.0
        self.lateness_s: list[float] | None = None  # of every wake-up, when set to a list
        self._now, self._sleep = now, sleep
        self.reset()

    def reset(self) -> None:
        """Set the first deadline one period from now."""
        self._deadline_s = self._now() + self.period_s

    def sleep(self) -> int:
        """Sleep until the next deadline; returns how many periods have begun since the last call, >= 1.

        Missed deadlines are skipped, not made up for.
        """
        late_s = self._now() - self._deadline_s
        if late_s < 0:
            self._sleep(-late_s)
            late_s = max(self._now() - self._deadline_s, 0.0)
        self.max_lateness_s = max(self.max_lateness_s, late_s)
        if self.lateness_s is not None:
            self.lateness_s.append(late_s)
        missed = int(late_s // self.period_s)
        self.overruns += missed > 0
        self._deadline_s += (missed + 1) * self.period_s
        return missed + 1
