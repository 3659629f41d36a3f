"""For all tests: one thread a process, before anything that counts cores is imported; and the GL back-end.

Two programs whose threads wait spinning slow each other by an order of magnitude; tests start programs.
"""

import os
import signal
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("LP_NUM_THREADS", "0")
os.environ.pop("PYTHONUNBUFFERED", None)  # programs are started as from a user's shell: what waits in a buffer is lost
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a shell's background, and children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

import sim  # noqa: E402, F401 - a test file that imports MuJoCo first would fix another back-end
from sim.core import console, deprecated  # noqa: E402
from sim.render.gl import load_triton  # noqa: E402

load_triton()  # test files import dm_control, which opens Mesa, in any order

# A busy machine holds any example up; pytest-timeout ends what hangs.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(autouse=True)
def _records_on_the_terminal():
    """What programs log appears on the standard streams, as `run_program` has it; of a renamed option every time."""
    console.set_up()
    deprecated._notice.cache_clear()


@pytest.fixture(autouse=True)
def _ordinary_priority():
    """Take back the priority that a program raised for good in this process: other tests and their children lack it."""
    interval_s = sys.getswitchinterval()
    yield
    sys.setswitchinterval(interval_s)
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@pytest.fixture(autouse=True)
def _own_signals():
    """Give back the handlers that a program left behind: a test's child would inherit that Ctrl-C is ignored."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)


def pytest_addoption(parser) -> None:
    """What `make fuzz DRAWS=N SEED=K` gives to tests/fuzz."""
    parser.addoption("--draws", type=int, default=40, help="wrong inputs of each kind that are tried")
    parser.addoption("--fuzz-seed", type=int, default=0, help="of these draws")
