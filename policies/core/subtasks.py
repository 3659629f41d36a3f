"""The sub-tasks that a policy may name before it acts, in words.

Of an instruction that names one thing and its target: whether it is gone to, or on its way. Of one that means several
things (`sim.tasks.steps`) also which of them.
"""

from sim.scene.placement import COLOURS
from sim.tasks.instructions import thing
from sim.tasks.steps import sort_step

APPROACH = ("go to what is named", *(f"pick up the {thing(colour, 'cube')}" for colour in COLOURS))
CARRY = ("take it where it is named to go", *map(sort_step, COLOURS))
SUBTASKS = (*APPROACH, *CARRY)
UNKNOWN = -1  # instead of a number in SUBTASKS


def subtask_number(told: str, *, held: bool) -> int:
    """Return the number in SUBTASKS. told: an instruction, or the step of a long one that is due."""
    which = CARRY.index(told) if told in CARRY else 0
    return which + held * len(APPROACH)
