"""What keeps a busy machine, and Python itself, from disturbing the servo stream."""

import contextlib
import gc
import os
import sys
from collections.abc import Iterator

RT_PRIORITY = 10  # of 99: above ordinary programs, below the kernel's threads
SWITCH_S = 0.0005  # with Python's default of 5 ms an 8 ms cycle would wait for other threads


def raise_priority() -> bool:
    """Request round-robin scheduling for this thread and those it will start. False when not permitted.

    To be called before other threads exist. Linux reserves 5 % of the time for other programs.
    The interval at which this program's threads switch is shortened in any case.
    """
    sys.setswitchinterval(SWITCH_S)
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(RT_PRIORITY))
    except (OSError, AttributeError):  # no permission, or no such call on this system
        return False
    return True


@contextlib.contextmanager
def raised_priority() -> Iterator[None]:
    """Raise the priority of the threads started in the block alone: this one gets its own priority back."""
    granted = raise_priority()
    try:
        yield
    finally:
        if granted:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@contextlib.contextmanager
def without_long_collections() -> Iterator[None]:
    """Keep the garbage collector from what exists already: with a policy loaded, one look at all of it holds every
    thread for 130 ms, sixteen servo periods. What is made in the block is collected as ever."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
