"""Where a decision is computed: at once, or in a thread beside what is played."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

import numpy as np

from sim.core import contract
from sim.core.contract import check_decision_time

Decide = Callable[[], np.ndarray]  # returns a chunk (T, D)


class AtOnce:
    """One decision at a time; whoever begins it waits for it."""

    def __init__(self) -> None:
        self._chunk: np.ndarray | None = None

    @property
    def busy(self) -> bool:
        """Whether a decision was begun whose result was not taken."""
        return self._chunk is not None

    @property
    def ready(self) -> bool:
        """Whether a result is there to be taken."""
        return self.busy

    def begin(self, decide: Decide) -> None:
        self._chunk = decide()

    def result(self) -> np.ndarray:
        """Take the result. Raises what the decision raised."""
        assert self._chunk is not None
        chunk, self._chunk = self._chunk, None
        return chunk

    def drop(self) -> None:
        """Forget a decision whose result was not taken."""
        self._chunk = None


class InThread:
    """One decision at a time, in a thread."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "decision")
        self._future: Future[np.ndarray] | None = None
        self._begun_s = 0.0

    @property
    def busy(self) -> bool:
        return self._future is not None

    @property
    def ready(self) -> bool:
        """Whether a result is there. UserError as `result`: one that never comes must not hold the arm for good."""
        if self._future is None:
            return False
        if not (done := self._future.done()):
            check_decision_time(time.monotonic() - self._begun_s)
        return done

    def begin(self, decide: Decide) -> None:
        self._begun_s = time.monotonic()
        self._future = self._executor.submit(decide)

    def result(self) -> np.ndarray:
        """Take the result. Raises what the decision raised; UserError where it took longer than MAX_DECISION_S."""
        assert self._future is not None
        future, self._future = self._future, None
        chunk = future.result()
        check_decision_time(time.monotonic() - self._begun_s)
        return chunk

    def drop(self) -> None:
        """Wait for the end of a decision and forget it, with what it raised: the next one will raise that anew. As
        `wait_for`."""
        if self._future is not None:
            wait_for(self._future)
        self._future = None


def wait_for(decision: Future) -> None:
    """Wait for the end of a decision or a look. UserError where that takes longer than MAX_DECISION_S from now."""
    begun_s = time.monotonic()
    if not wait([decision], contract.MAX_DECISION_S).done:
        check_decision_time(time.monotonic() - begun_s)
