"""The steps of a long instruction, which name one object and one target each."""

import re

from sim.scene.placement import COLOURS
from sim.tasks.instructions import NOUNS, thing

STEP = "put the {} on the {}"
MANY = re.compile(r"\b(sort|match|each|every|one by one)\b")
COLOUR = re.compile(rf"\b({'|'.join(COLOURS)})\b")
OPEN = "open the {}"
LINE_UP = "line up with the {}"
DRAWER, BLOCK, PEG = (
    re.compile(rf"\b({'|'.join(COLOURS)}) ({'|'.join(NOUNS[kind])})\b") for kind in ("drawer", "block", "peg")
)


def sort_step(colour: str) -> str:
    """Return the step that sorts the cube of a colour."""
    return STEP.format(thing(colour, "cube"), thing(colour, "plate"))


def open_step(colour: str) -> str:
    """Return the step that opens the drawer of a colour."""
    return OPEN.format(thing(colour, "drawer"))


def line_up_step(colour: str) -> str:
    """Return the step that turns a peg that is held as the hole of a block is."""
    return LINE_UP.format(thing(colour, "block"))


def opens(step: str) -> bool:
    """Return whether a step opens a drawer for the next one."""
    return step in map(open_step, COLOURS)


def lines_up(step: str) -> bool:
    """Return whether a step lines up what is held."""
    return step in map(line_up_step, COLOURS)


def possible_steps(instruction: str) -> tuple[str, ...]:
    """Return every step that a long instruction may consist of; none where one look is enough for it.

    To sort is a step for every colour; something that goes into a drawer may need that opened first; a peg, once held,
    is lined up with its block.
    """
    named = COLOUR.findall(instruction)
    if MANY.search(instruction) and not named:
        return tuple(map(sort_step, COLOURS))
    if (drawer := DRAWER.search(instruction)) and len(named) > 1:
        return open_step(drawer[1]), instruction
    block = BLOCK.search(instruction)
    return (instruction, line_up_step(block[1])) if block and PEG.search(instruction) else ()
