"""The steps of a long instruction, which name one object and one target each."""

import re

from sim.scene.placement import COLOURS
from sim.tasks.instructions import thing

STEP = "put the {} on the {}"
MANY = re.compile(r"\b(sort|match|each|every|one by one)\b")
COLOUR = re.compile(rf"\b({'|'.join(COLOURS)})\b")


def sort_step(colour: str) -> str:
    """Return the step that sorts the cube of a colour."""
    return STEP.format(thing(colour, "cube"), thing(colour, "plate"))


def possible_steps(instruction: str) -> tuple[str, ...]:
    """Return every step that a long instruction may consist of; none where it names what it means."""
    is_long = MANY.search(instruction) and not COLOUR.search(instruction)
    return tuple(map(sort_step, COLOURS)) if is_long else ()
