"""Real-time priority where the machine grants it, so that a busy machine does not make the arm stutter."""

import os

RT_PRIORITY = 10  # of 99: above every ordinary program, below what the kernel needs


def raise_priority() -> bool:
    """Ask for round-robin scheduling, for this thread and those it will start. False when not allowed.

    Call it before other threads exist. Linux keeps 5 % of the time for the rest of the machine.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(RT_PRIORITY))
    except (OSError, AttributeError):  # no permission, or no such call on this system
        return False
    return True
