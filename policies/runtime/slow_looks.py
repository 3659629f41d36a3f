"""Looks at a rate of their own, beside decisions on the newest of them and the present state (dual rate).

As in Helix and GR00T N1, what looks is slow and what acts is fast: encoders and `condense` run `Timing.look_hz` times a
second, in a thread or with a simulated delay; the rest of the network decides chunks in between.
"""

import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from policies.core.inputs import Inputs
from policies.core.interface import Policy
from policies.runtime.chunk_agent import Timing
from policies.runtime.deciding import wait_for
from policies.runtime.latency import percentiles
from sim.core.contract import Observation
from sim.core.errors import UserError


class Look(NamedTuple):
    """One look, whose result may not be there yet."""

    taken_s: float  # on the environment's clock
    seen: "Future[Inputs]"


class SlowLooks:
    """Takes looks at observations and knows the newest.

    One is known `look_delay_s` after it was taken; in a thread when its result is there, and the next one begins no
    sooner. ages_s: of the look of each decision. waits: for how many of them a look had to be awaited, as the known one
    was older than the policy was trained for; in a thread alone, and not for an episode's first.
    """

    def __init__(self, policy: Policy, timing: Timing, see: Callable[[Observation], Inputs]):
        """UserError where looks would be older than the policy was trained for."""
        every, delay = look_steps(policy, timing)
        period_s = 1 / policy.spec.control_hz
        slack_s = period_s / 2  # what is as many control periods later is not so to the millisecond
        self._every_s, self._delay_s = every * period_s - slack_s, delay * period_s - slack_s
        self._oldest_s = policy.look_age * period_s + slack_s
        self._see = see
        self._thread = ThreadPoolExecutor(1, "look") if timing.in_thread else None
        self._under_way: deque[Look] = deque()
        self.ages_s: list[float] = []
        self.waits = 0
        self.begin()

    def begin(self) -> None:
        """Begin an episode: forget every look, after its end. UserError where that does not come in time."""
        while self._under_way:
            wait_for(self._under_way[0].seen)
            self._under_way.popleft()
        self._newest: Look | None = None

    def due(self, observation: Observation) -> bool:
        """Whether to look at this observation."""
        if self._thread and self._under_way and not self._under_way[-1].seen.done():
            return False
        before = self._under_way[-1] if self._under_way else self._newest
        return before is None or observation.stamp_s - before.taken_s >= self._every_s

    def take(self, observation: Observation) -> None:
        """Look at an observation with its images."""
        if self._thread:
            seen = self._thread.submit(self._see, observation)
        else:
            seen = Future()
            seen.set_result(self._see(observation))
        self._under_way.append(Look(observation.stamp_s, seen))

    def newest(self, observation: Observation, looked_at: Callable[[Observation], Observation]) -> Inputs:
        """Return what was seen by the newest look that is known. Raises what that look raised, UserError where it does
        not end in time.

        Where that is too old, or there is none yet, it waits for those under way, at last for one at `observation`.
        """
        while self._under_way and self._known(self._under_way[0], observation.stamp_s):
            self._newest = self._under_way.popleft()
        first, waited = self._newest is None, False
        while self._newest is None or observation.stamp_s - self._newest.taken_s > self._oldest_s:
            if not self._under_way:
                self.take(looked_at(observation))
            self._newest, waited = self._under_way.popleft(), not first
        self.waits += waited
        self.ages_s.append(observation.stamp_s - self._newest.taken_s)
        wait_for(self._newest.seen)
        return self._newest.seen.result()

    def row(self) -> dict:
        """Return what results.json holds of them."""
        return {"age": percentiles(self.ages_s), "awaited": self.waits}

    def _known(self, look: Look, now_s: float) -> bool:
        return look.seen.done() and (self._thread is not None or now_s - look.taken_s >= self._delay_s)


def look_steps(policy: Policy, timing: Timing) -> tuple[int, int]:
    """Return how many steps a look is taken after the one before, and how many later it is known, both rounded up.

    UserError where looks would be older than the policy was trained for.
    """
    hz, most = policy.spec.control_hz, policy.look_age
    look_hz, delay_s = timing.look_hz or hz, timing.look_delay_s
    if look_hz > hz:
        raise UserError(f"look_hz={look_hz:g}: expected at most {hz:g}, at which the policy observes")
    every, delay = (math.ceil(round(steps, 6)) for steps in (hz / look_hz, delay_s * hz))
    age = every + delay - 1
    if age > most:
        raise UserError(
            f"look_hz={look_hz:g} look_delay_s={delay_s:g}: looks of up to {age / hz:g} s, the policy was trained with "
            f"{most / hz:g} s; expected fresher ones, or a policy trained with policy.look_age={age}"
        )
    return every, delay
