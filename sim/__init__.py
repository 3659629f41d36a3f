"""The simulated FR3: scene, tasks, environment, expert, collection; and what the robot shares with it."""

import os
import sys

from sim.core.errors import interrupts_in_one_line, leave_without_environment
from sim.render.gl import choose_gl

if sys.argv[:1] == ["-m"]:  # a program of ours is about to run
    interrupts_in_one_line()
    os.environ.pop("MPLBACKEND", None)  # of a notebook or another project: our figures are files
try:
    import gymnasium  # noqa: F401 - the first package that a Python without our environment lacks
except ModuleNotFoundError as _error:
    if sys.argv[:1] != ["-m"]:  # else a program of ours is about to run, whose user needs no stack
        raise
    leave_without_environment(_error.name)

from sim.core.deprecated import TASKS
from sim.core.threads import spin_briefly
from sim.tasks.names import NAMES, register_gym_id  # noqa: E402

choose_gl()
spin_briefly()
for _name in NAMES:  # MuJoCo is not needed for this
    register_gym_id(_name)
for _old, _name in TASKS.items():
    register_gym_id(_name, _old)
