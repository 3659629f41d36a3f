"""The simulated FR3: scene, tasks, environment, expert, collection; and what the robot shares with it."""

import sys
from pathlib import Path

from sim.errors import leave_without_environment
from sim.render.gl import choose_gl

try:
    import gymnasium
except ModuleNotFoundError as _error:
    if sys.argv[:1] != ["-m"]:  # else a program of ours is about to run, whose user needs no stack
        raise
    leave_without_environment(_error.name)

choose_gl()
for _file in sorted(
    (Path(__file__).parent / "tasks").glob("[a-z]*.py")
):  # by name: MuJoCo is not needed to import this
    _words = "".join(word.capitalize() for word in _file.stem.split("_"))
    gymnasium.register(id=f"FR3{_words}-v0", entry_point="sim.env:make_fr3", kwargs={"task": _file.stem})
