"""Every option of every program: what it is, what it takes, and that `--help` shows both."""

import re
import typing

import pytest
from programs import PROGRAMS, items, schemas

from sim.core.command_line import Words
from sim.core.config import composed
from sim.core.errors import UserError
from sim.core.help import option_lines
from sim.core.options import CHECKS, COMMENT, SEED, check_value
from sim.core.registry import Choice
from sim.core.structured import is_choice, is_schema, nested

OPTIONS = {
    f"{schema.__name__}.{field.name}": (field, kind)
    for program in PROGRAMS.values()
    for schema in schemas(program.schema)
    for field, kind in nested(schema)
    if not (issubclass(schema, Choice) and field.name == "name")  # its registry is comment and check
}
SINGLE = {name: one for name, one in OPTIONS.items() if typing.get_origin(one[1]) is not dict}
NUMBERS = {name: one for name, one in SINGLE.items() if items(one[1]) & {int, float}}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_has_a_comment(name):
    field, _ = OPTIONS[name]
    assert field.metadata.get(COMMENT) and "\n" not in field.metadata[COMMENT]


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_has_a_check_which_refuses_what_cannot_be(name):
    field, kind = NUMBERS[name]
    assert field.metadata.get(CHECKS)
    if float in items(kind):
        wrong = [float("nan"), float("inf"), -float("inf")]
    else:
        wrong = [-1, 2**31] if SEED in field.metadata[CHECKS] else [-1]
    for value in wrong:
        with pytest.raises(UserError, match=rf"^x=.*{value}.*, expected ") as caught:
            check_value(field, "x", (value,) * 3 if typing.get_origin(kind) is tuple else value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_shows_every_option_with_its_comment(program):
    shown = "\n".join(option_lines(composed(program, PROGRAMS[program].schema, Words())))
    for field, kind in nested(PROGRAMS[program].schema):
        assert described(field, "", shown)
        for inner, _ in nested(kind) if is_schema(kind) and not is_choice(kind) else ():
            assert described(inner, "  ", shown)


def described(field, indent: str, shown: str) -> bool:
    """Whether one line has the option with its comment and what it takes."""
    wanted = [field.metadata[COMMENT], *(check.expected for check in field.metadata.get(CHECKS, ()))]
    lines = re.findall(rf"^{indent}{field.name}:.*$", shown, re.M)
    return any(all(text in line for text in wanted) for line in lines)
