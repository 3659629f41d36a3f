"""Real-time priority where the machine grants it, so that a busy machine does not make the arm stutter."""

import os
import sys

RT_PRIORITY = 10  # of 99: above every ordinary program, below what the kernel needs
SWITCH_S = 0.0005  # Python's own 5 ms would keep an 8 ms cycle waiting for another thread


def raise_priority() -> bool:
    """Ask for round-robin scheduling, for this thread and those it will start. False when not allowed.

    Call it before other threads exist. Linux keeps 5 % of the time for the rest of the machine.
    Threads of this program take turns more often from now on, granted or not.
    """
    sys.setswitchinterval(SWITCH_S)
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(RT_PRIORITY))
    except (OSError, AttributeError):  # no permission, or no such call on this system
        return False
    return True
