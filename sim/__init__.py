"""The simulated FR3: scene, tasks, environment, expert, collection; and what the robot shares with it."""

from pathlib import Path

import gymnasium

from sim.render.gl import choose_gl

choose_gl()
for _file in sorted(
    (Path(__file__).parent / "tasks").glob("[a-z]*.py")
):  # by name: MuJoCo is not needed to import this
    _words = "".join(word.capitalize() for word in _file.stem.split("_"))
    gymnasium.register(id=f"FR3{_words}-v0", entry_point="sim.env:make_fr3", kwargs={"task": _file.stem})
