"""Processes that Ctrl-C does not reach: a terminal sends it to all, and what it means to them the first one decides."""

import contextlib
import signal
from collections.abc import Iterator
from multiprocessing import resource_tracker


@contextlib.contextmanager
def children_without_interrupts() -> Iterator[None]:
    """Let processes started inside never see Ctrl-C, not even while they import; this one sees it afterwards."""
    resource_tracker.ensure_running()  # when it starts a process, it lets SIGINT through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which they inherit
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
