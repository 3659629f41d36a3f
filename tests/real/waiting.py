"""Waiting for what other threads do."""

import time

PATIENCE_S = 30.0  # of a busy machine


def wait_for(condition, timeout_s: float = PATIENCE_S) -> None:
    """Until `condition()` holds; a failed assertion when it does not come to."""
    ends_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < ends_s, "did not happen"
        time.sleep(0.005)
