"""What was typed behind `python -m PROGRAM`: hydra's flags, and overrides made ready for hydra's grammar.

Hydra reads commas, brackets, blanks and letters beyond ASCII as grammar. What an option's type leaves no doubt about
is quoted here: a text is a text. A comma outside a sweep stays in doubt, and is refused with what to write instead.
"""

import argparse
import dataclasses
import re
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from hydra._internal.utils import get_args_parser

from sim.core import deprecated
from sim.core.errors import UserError
from sim.core.structured import alternatives, kind_of

SWEEP = re.compile(r"(choice|range|interval|glob|shuffle|sort|tag)\(")
CAST = r"(int|float|str|bool|json_str|extend_list)\("
# A value meant for hydra's grammar: a list, a dictionary, something quoted, an interpolation, null, a function.
GRAMMAR = re.compile(rf"""\[|\{{|(['"]).*\1$|\$\{{|null$|{SWEEP.pattern}|{CAST}""", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Words:
    """The parts of a command line."""

    overrides: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()  # hydra's, as they were typed, but for the next three
    config_dir: str | None = None
    config_name: str | None = None
    help: bool = False
    sweeps: bool = False

    @classmethod
    def of(cls, words: Sequence[str]) -> "Words":
        """Parse a command line; UserError where it is not understood."""
        parser = get_args_parser()
        parser.error = _fail  # argparse would print its usage and end the program
        known, foreign = parser.parse_known_intermixed_args(list(words))
        if foreign:
            _fail(f"{foreign[0]!r} is not understood, expected key=value or one of hydra's flags (see --hydra-help)")
        return cls(
            overrides=tuple(known.overrides),
            flags=_flags(known),
            config_dir=_folder(known.config_dir),
            config_name=known.config_name,
            help=known.help,
            sweeps=known.multirun,
        )


def _fail(message: str) -> NoReturn:
    raise UserError(message)


def _folder(path: str | None) -> str | None:
    if path is not None and not Path(path).is_dir():
        raise UserError(f"--config-dir {path}: no such directory")
    return str(Path(path).resolve()) if path else None


def _flags(known: argparse.Namespace) -> tuple[str, ...]:
    """Return what hydra itself is to do, as its own command line has it."""
    switches = ("run", "multirun", "resolve", "shell_completion", "hydra_help", "version")
    named = [f"--{name.replace('_', '-')}" for name in switches if getattr(known, name, False)]
    for name in ("cfg", "info", "package", "experimental_rerun"):
        if value := getattr(known, name):
            named += [f"--{name.replace('_', '-')}", value]
    return tuple(named)


def as_overrides(schema: type, words: Words) -> list[str]:
    """Return the overrides for hydra: old names replaced, texts quoted. Raises UserError."""
    return [_override(schema, word, sweeps=words.sweeps) for word in words.overrides]


def _override(schema: type, word: str, *, sweeps: bool) -> str:
    name, equals, value = word.partition("=")
    if word.startswith("~"):
        return word
    if not equals:
        raise UserError(f"{word!r} is not understood, expected key=value")
    prefix = name[: len(name) - len(name.lstrip("+"))]
    name = deprecated.option(name.lstrip("+"), lambda option: kind_of(schema, option) is not None)
    kind = kind_of(schema, name)
    ready = _value(name, kind, value, sweeps=sweeps) if kind is not None else value
    return f"{prefix}{name}={ready}"


def _value(name: str, kind: Any, value: str, *, sweeps: bool) -> str:
    """Return a value in hydra's grammar, by the type it is for."""
    inner = _item_kind(kind)
    if inner is not None and value.startswith("[") and value.endswith("]"):
        return f"[{','.join(_item(item, inner) for item in _items(value[1:-1]))}]"
    if sweeps and not SWEEP.match(value):
        return ",".join(_single(item, kind) for item in _items(value))
    if not sweeps and " " not in value and len(_items(value)) > 1:
        wanted = f"{name}=[{value}] for a list" if inner is not None else f"{name}='\"{value}\"' for a text"
        raise UserError(f"{name}={value}: a comma sweeps over values, with --multirun; write {wanted}")
    return _single(value, kind)


def _single(value: str, kind: Any) -> str:
    inner = _item_kind(kind)
    is_number = int in alternatives(kind) and value.lstrip("+-").isdigit()
    if inner is not None and not is_number and not GRAMMAR.match(value):
        return f"[{_item(value, inner)}]"  # a single item of a list
    return _text(value, kind)


def _item(value: str, kind: Any) -> str:
    """Return an item of a list, where a bracket can only be a text's."""
    return quoted(value) if kind is str and value[:1] in "[{" else _text(value, kind)


def _text(value: str, kind: Any) -> str:
    """Quote what can only be a text; `~/` is home, where a shell left it as it was."""
    if value.startswith("~/") and str in alternatives(kind):
        value = str(Path(value).expanduser())
    if str not in alternatives(kind) or int in alternatives(kind) or GRAMMAR.match(value):
        return value if " " not in value or GRAMMAR.match(value) else quoted(value)
    return quoted(value)


def quoted(value: str) -> str:
    """Return a text in hydra's quotes, where a backslash counts as one unless a quote follows."""
    return "'" + re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), value) + "'"


def _item_kind(kind: Any) -> Any:
    """Return the type of a list's items, None where `kind` is no list."""
    for one in alternatives(kind):
        if typing.get_origin(one) is tuple:
            return typing.get_args(one)[0]
    return None


def _items(text: str) -> list[str]:
    """Split at commas that stand neither in quotes nor in brackets."""
    items, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        else:
            depth += (letter in "[{(") - (letter in "]})")
        if letter == "," and not depth and not quote:
            items.append("")
        else:
            items[-1] += letter
    return [item.strip() for item in items if item.strip()]
