"""The steps of a long instruction, which name one object and one target each."""

import re

from sim.scene.placement import COLOURS
from sim.tasks.instructions import NOUNS, thing

STEP = "put the {} on the {}"
MANY = re.compile(r"\b(sort|match|each|every|one by one)\b")
COLOUR = re.compile(rf"\b({'|'.join(COLOURS)})\b")
OPEN = "open the {}"
DRAWER = re.compile(rf"\b({'|'.join(COLOURS)}) ({'|'.join(NOUNS['drawer'])})\b")


def sort_step(colour: str) -> str:
    """Return the step that sorts the cube of a colour."""
    return STEP.format(thing(colour, "cube"), thing(colour, "plate"))


def open_step(colour: str) -> str:
    """Return the step that opens the drawer of a colour."""
    return OPEN.format(thing(colour, "drawer"))


def opens(step: str) -> bool:
    """Return whether a step opens a drawer for the next one."""
    return step in map(open_step, COLOURS)


def possible_steps(instruction: str) -> tuple[str, ...]:
    """Return every step that a long instruction may consist of; none where one look is enough for it.

    To sort is a step for every colour; something that goes into a drawer may need that opened first.
    """
    named = COLOUR.findall(instruction)
    if MANY.search(instruction) and not named:
        return tuple(map(sort_step, COLOURS))
    drawer = DRAWER.search(instruction)
    return (open_step(drawer[1]), instruction) if drawer and len(named) > 1 else ()
