"""The simulated FR3: scene, tasks, environment, expert, collection; and what the robot shares with it."""

import sys
from pathlib import Path

from sim.core.errors import leave_without_environment
from sim.render.gl import choose_gl

try:
    import gymnasium
except ModuleNotFoundError as _error:
    if sys.argv[:1] != ["-m"]:  # else a program of ours is about to run, whose user needs no stack
        raise
    leave_without_environment(_error.name)

choose_gl()
# By the names of the files: MuJoCo is not needed to import this.
for _file in sorted((Path(__file__).parent / "tasks").glob("[a-z]*.py")):
    if _file.stem != "instructions":
        _words = "".join(word.capitalize() for word in _file.stem.split("_"))
        gymnasium.register(id=f"FR3{_words}-v0", entry_point="sim.envs.sim_env:make_fr3", kwargs={"task": _file.stem})
