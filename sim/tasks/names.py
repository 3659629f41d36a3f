"""The names of the tasks that come with the project, one module of this folder each, and their gymnasium ids.

MuJoCo is not needed to know them.
"""

import pkgutil
from pathlib import Path

import gymnasium

_modules = {module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)])}
NAMES = tuple(sorted(_modules - {"base", "instructions", "names", "placings", "seen", "steps"}))


def gym_id(task: str) -> str:
    """Return the gymnasium id of a task.

    >>> gym_id("pick_place")
    'FR3PickPlace-v0'
    """
    return f"FR3{''.join(word.capitalize() for word in task.split('_'))}-v0"


def register_gym_id(task: str, name: str | None = None) -> None:
    """Register the gymnasium id of a task, once; name: what the id is made of when it is not the task's."""
    id_ = gym_id(name or task)
    if id_ not in gymnasium.registry:
        gymnasium.register(id=id_, entry_point="sim.envs.sim_env:make_fr3", kwargs={"task": task})
