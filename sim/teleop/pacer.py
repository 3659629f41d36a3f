"""Simulated episodes slowed down to real time, for somebody who watches or takes part."""

import time

from sim.episode.loop import Step


class RealTimePacer:
    """A recorder that keeps nothing and slows a simulated episode down to real time."""

    def __init__(self, period_s: float):
        self._period_s, self._due_s = period_s, time.monotonic()

    def add(self, step: Step) -> None:
        self._due_s = max(self._due_s + self._period_s, time.monotonic() - 10 * self._period_s)
        time.sleep(max(0.0, self._due_s - time.monotonic()))
