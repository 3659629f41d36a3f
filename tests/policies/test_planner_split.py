"""Instructions of several steps are taken apart into sentences that a task's grammar has, or refused in one line."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.planner.split import split
from policies.planner.understanding import understood
from sim.core.errors import UserError
from sim.randomize.ranges import RandomizeConfig
from sim.scene.shapes import SHAPES
from sim.tasks.base import TASKS
from sim.tasks.instructions import NOUNS

CUBE, BUTTON, OPEN = "put the red cube on the green plate", "press the blue button", "open the red drawer"
IN_DRAWER = "put the blue can in the red drawer"
JOINTS = (
    ", then ",
    " and then ",
    ", and then ",
    "; then ",
    ". Then ",
    ", after that ",
    " and after that ",
    ", and ",
    ". ",
)
NAMED_ONCE = tuple(name for name in TASKS.names() if not TASKS.get(name).steps_of)

BY_HAND = {
    CUBE: (CUBE,),
    "take the red cube and put it on the green plate": ("take the red cube and put it on the green plate",),
    f"{CUBE}, then {BUTTON}": (CUBE, BUTTON),
    f"{CUBE} and {BUTTON}": (CUBE, BUTTON),
    f"{CUBE}, {BUTTON} and {OPEN}.": (CUBE, BUTTON, OPEN),
    f"First {OPEN}, then {IN_DRAWER}": (OPEN, IN_DRAWER),
    f"{OPEN}, then put the blue can in it": (OPEN, IN_DRAWER),
    f"{OPEN} and put the blue can in the drawer, after that {BUTTON}": (OPEN, IN_DRAWER, BUTTON),
    "find the red drawer and open it, then find the blue can and put it in the tray": (
        "find the red drawer and open it", "find the blue can and put it in the red drawer",
    ),
    f"{CUBE}, then stack the blue cube on it": (CUBE, "stack the blue cube on the red cube"),
    f"before you {BUTTON}, {CUBE}": (CUBE, BUTTON),
    f"{CUBE} before you {BUTTON}": (CUBE, BUTTON),
    f"after you {OPEN}, put the blue can in it": (OPEN, IN_DRAWER),
    f"put the blue can in it after you {OPEN}": (OPEN, IN_DRAWER),
    f"take the red cube and put it on the green plate and {BUTTON}": (
        "take the red cube and put it on the green plate", BUTTON,
    ),
}  # fmt: skip


@pytest.mark.parametrize("instruction", BY_HAND)
def test_steps_are_those_that_a_person_reads(instruction):
    assert tuple(step.sentence for step in split(instruction)) == BY_HAND[instruction]


def test_each_step_knows_its_task():
    assert [step.task for step in split(f"{OPEN}, then put the blue can in it, then {BUTTON}, then {CUBE}")] == [
        "open_drawer", "place_in_drawer", "press_button", "pick_place",
    ]  # fmt: skip


def sentence(task: str, seed: int) -> str:
    """A sentence as an episode of this task has it."""
    ranges = RandomizeConfig(paraphrase=0.5, shapes=tuple(SHAPES))
    return TASKS.get(task).draw_layout(np.random.default_rng(seed), ranges).instruction


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(NAMED_ONCE), st.integers(0, 10**6))
def test_every_sentence_of_every_task_is_understood_as_that_task(task, seed):
    said = sentence(task, seed)
    found = understood(said)
    assert found is not None and found.sentence == said
    assert found.task == task


def test_things_are_called_by_one_word():
    """The splitter takes the word after a colour for the kind."""
    assert [word for words in NOUNS.values() for word in words if not word.isalpha()] == []


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(NAMED_ONCE), st.integers(0, 10**6)), min_size=1, max_size=5), st.data())
def test_what_was_joined_comes_apart_again(chosen, data):
    said = [sentence(*one) for one in chosen]
    text = said[0]
    for one in said[1:]:
        text += data.draw(st.sampled_from(JOINTS)) + one
    assert [step.sentence for step in split(text)] == said
    assert [step.task for step in split(text)] == [task for task, _ in chosen]


@pytest.mark.parametrize(
    ("instruction", "part", "nearest"),
    [
        ("put the red cube in the red drawer, then close it", "close it", ""),
        ("open the drawer, then put the red cube in it", "open the drawer", "open the blue drawer"),
        (f"{CUBE}, then put the blue cube on the yellow moon", "put the blue cube on the yellow moon", ""),
        (f"{CUBE}, then sing and {BUTTON}", f"sing and {BUTTON}", ""),
        ("put it on the green plate", "put it on the green plate", "put the red cube on the blue plate"),
    ],
)
def test_the_part_that_is_not_understood_is_named(instruction, part, nearest):
    with pytest.raises(UserError) as error:
        split(instruction)
    assert f"{part!r} is not understood" in str(error.value)
    assert nearest in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("instruction", ["", "  .", "x" * 2001, " and ".join(["it"] * 300)])
def test_what_is_no_instruction_is_refused_at_once(instruction):
    with pytest.raises(UserError):
        split(instruction)
