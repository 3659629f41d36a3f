"""The simulated FR3: scene, task, environment, expert, collection; and what the robot shares with it."""

import gymnasium

from sim.gl import choose_gl

choose_gl()
gymnasium.register(id="FR3PickPlace-v0", entry_point="sim.env:make_fr3", kwargs={"task": "pick_place"})
