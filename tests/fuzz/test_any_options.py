"""Any words behind any program: they compose, or one line and exit code 2 say what is wrong. Nothing is written."""

import socket
import typing
from pathlib import Path

import pytest
from hypothesis import strategies as st
from programs import PROGRAMS, ended, schemas

from sim.core.config import CONF, ProgramOptions
from sim.core.structured import is_choice, is_schema, nested

ODD = [
    "", "0", "-1", "1", "2", "16", "0.5", "nan", "-nan", "inf", "-inf", "1e308", "1e999", "99999999999999999999", "1_0",
    "0x10", "+1", "1e3", "true", "off", "null", "~", "[]", "[1,2]", "[2,1]", "[nan,1]", "[[1,2]]", "[1,x]", "[1,2,3]",
    "{}", "{a:1}", "{name:flow}", "{name:nothing}", "{name:[1]}", "${x}", "${oc.env:HOME}", "${task}", "???", "a,b",
    "'", '"', "[", "]", "}", "\\", "'a", "größer", "\u200b", " ", "a b", "=", "x=y", "..", "/dev/null/x", "pick_plaice",
    "pick_place", "franka", "int(3)", "int(x)", "range(1,3)", "choice(1,2)", "glob(*)", "a(b", "-", "--help", "x" * 300,
]  # fmt: skip
GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir())
FLAGS = [
    ["--config-dir", "nowhere"],
    ["--config-name", "nothing"],
    ["--foo"],
    ["-x"],
    ["--cfg"],
    ["word"],
    ["=1"],
    ["~x"],
]


def names(program: str) -> list[str]:
    """The options of a program, those of its blocks dotted, to the fourth level."""
    return [*dotted(PROGRAMS[program].schema, 4), *(field.name for field, _ in nested(ProgramOptions))]


def dotted(schema: type, depth: int, where: str = "") -> list[str]:
    found = []
    for field, kind in nested(schema):
        found.append(where + field.name)
        parts = [one for one in (typing.get_args(kind) or (kind,)) if is_schema(one)]
        for part in parts if depth > 1 else ():
            inner = [part.registry.get(name) for name in part.registry] if is_choice(part) else [part]
            for one in inner:
                found += dotted(one, depth - 1, f"{where}{field.name}.")
    return list(dict.fromkeys(found))


def sensible(program: str) -> list[str]:
    """Words that change nothing: options at their defaults."""
    fields = [field for field, _ in nested(PROGRAMS[program].schema)]
    return [f"{field.name}={field.default}" for field in fields if isinstance(field.default, int | float | str)]


SENSIBLE = {program: sensible(program) for program in PROGRAMS}
NAMES = {program: names(program) for program in PROGRAMS}


@st.composite
def command_lines(draw) -> tuple[str, list[str]]:
    """A program, words that are right, and some that may be anything."""
    program = draw(st.sampled_from(sorted(PROGRAMS)))
    value = st.sampled_from(ODD) | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
    value |= st.integers().map(str) | st.floats().map(str)
    name = st.sampled_from(NAMES[program]) | st.sampled_from([*GROUPS, "+exp", "hydra.run.dir", "optm", "a.b"])
    prefix = st.sampled_from(["", "", "", "", "+", "++", "~"])
    word = st.tuples(prefix, name, value).map(lambda parts: [f"{parts[0]}{parts[1]}={parts[2]}"])
    words = draw(st.lists(st.sampled_from(SENSIBLE[program]).map(lambda word: [word]), max_size=2))
    words += draw(
        st.lists(word, min_size=1, max_size=2) | st.sampled_from(FLAGS).map(lambda flag: [flag]) | st.just([])
    )
    return program, sum(words, [])


def test_any_words_compose_or_are_refused_in_one_line(fuzz, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket, "gethostbyname", resolve)
    codes = []

    def check(drawn: tuple[str, list[str]]) -> None:
        program, words = drawn
        found = ended(program, *words, main=lambda _: None)
        codes.append(found.code)
        lines = [line for line in found.err.splitlines() if not line.startswith("warning: renamed ")]
        if found.code:
            assert (found.code, len(lines), found.out) == (2, 1, ""), (drawn, found)
            assert lines[0].startswith("error: ")
        else:
            assert not lines, (drawn, found)
        assert not list(Path().iterdir()), drawn

    fuzz(command_lines(), check)
    assert 0.2 < sum(code == 2 for code in codes) / len(codes) < 0.98  # both happen, or the draws say nothing


def resolve(host: str) -> str:
    """No name server is asked."""
    try:
        return socket.inet_ntoa(socket.inet_aton(host))  # "0" is 0.0.0.0, as a resolver has it
    except (OSError, UnicodeError) as error:
        raise socket.gaierror(-2, "Name or service not known") from error


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_option_of_a_program_is_drawn_from(program):
    fields = {field.name for schema in schemas(PROGRAMS[program].schema) for field, _ in nested(schema)}
    assert {name.rpartition(".")[2] for name in NAMES[program]} >= fields - {"center_m", "half_m", "yaw_deg"}
