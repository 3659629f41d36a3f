"""For all tests: one thread a process, before anything that counts cores is imported; and the GL back-end.

Two programs whose threads wait spinning slow each other by an order of magnitude; tests start programs.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("LP_NUM_THREADS", "0")

import sim  # noqa: E402, F401 - a test file that imports MuJoCo first would fix another back-end
