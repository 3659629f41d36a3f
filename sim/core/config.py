"""From the command line to a frozen dataclass: hydra composes `conf/`, every key and type is checked.

`conf/<program>.yaml` is a program's root, its groups are the folders beside it and `+exp=NAME` an
experiment that states only differences. Programs are run with `python -m`.
"""

import dataclasses
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

import yaml
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sim.core.console import tell
from sim.core.errors import UserError, nearest
from sim.core.paths import CONF, check_data

T = TypeVar("T")


def run_program(program: str, schema: type[T], main: Callable[[T], Any], doc: str | None) -> None:
    """`main(config)` of a program; a UserError is one line on stderr, one more for every note, and exit code 2."""
    arguments = sys.argv[1:]
    try:
        if {"-h", "--help"} & set(arguments):
            print(f"{(doc or '').strip()}\n\noptions and defaults:\n{_options(program)}")
            return
        main(load(program, schema, arguments))
    except UserError as error:
        _end(f"error: {error}", error, 2)
    except KeyboardInterrupt as interrupt:
        _end("interrupted; what was finished is kept", interrupt, 130)


def _end(line: str, error: BaseException, code: int) -> NoReturn:
    for text in (line, *getattr(error, "__notes__", ())):
        tell(text, sys.stderr)
    sys.exit(code)


def _options(program: str) -> str:
    """The options of `program` with their defaults as YAML: groups last, a list in one line."""

    class Brief(yaml.SafeDumper):
        pass

    Brief.add_representer(list, lambda dumper, value: dumper.represent_sequence("tag:yaml.org,2002:seq", value, True))
    options = typing.cast(dict, OmegaConf.to_container(_compose(program, [])))
    groups_last = dict(sorted(options.items(), key=lambda option: isinstance(option[1], dict)))
    return yaml.dump(groups_last, Dumper=Brief, sort_keys=False, width=120)


def load(program: str, schema: type[T], overrides: list[str]) -> T:
    """The configuration of `program` with command-line overrides, as `schema`."""
    return typed(schema, typing.cast(Mapping, OmegaConf.to_container(_compose(program, overrides), resolve=True)))


def load_group(group: str, choice: str, schema: type[T]) -> T:
    """One file of a folder of `conf/` alone, e.g. ("randomize", "full"). UserError names the nearest choice."""
    return typed(schema, group_values(group, choice))


def group_values(group: str, choice: str) -> Mapping:
    """What one file of a folder of `conf/` states, no more; UserError as `load_group`."""
    check_data()
    choices = [path.stem for path in (CONF / group).glob("*.yaml")]
    if choice not in choices:
        raise UserError(nearest(choice, choices, f"choice for {group}"))
    composed = typing.cast(Mapping, OmegaConf.to_container(_compose(f"{group}/{choice}", [])))
    return next(iter(composed.values()), {})  # under its package: the group's name, or another (twin: randomize)


def _compose(program: str, overrides: list[str]):
    check_data()
    _check_keys(program, overrides)
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
            return compose(program, [_quoted(override) for override in overrides])
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_in_one_line(error)) from error


def _quoted(override: str) -> str:
    """A value with blanks in it is a text: hydra's grammar would read its commas and brackets."""
    name, _, value = override.partition("=")
    if " " not in value or value[0] in "[{'\"":
        return override
    escaped = value.replace("'", "\\'")
    return f"{name}='{escaped}'"


def _check_keys(program: str, overrides: list[str]) -> None:
    """Name a misspelt option or group choice before hydra does so in several lines."""
    if not overrides:
        return
    known = typing.cast(dict, OmegaConf.to_container(_compose(program, [])))
    groups = {folder.name for folder in CONF.iterdir() if folder.is_dir()}
    for override in overrides:
        name, equals, choice = override.partition("=")
        name = name.lstrip("+~")
        if not equals:
            raise UserError(f"{override!r} is not understood, expected key=value")
        if name in groups:
            choices = [path.stem for path in (CONF / name).glob("*.yaml")]
            if choice not in choices:
                raise UserError(nearest(choice, choices, f"choice for {name}"))
        elif name.split(".")[0] not in known and not name.startswith("hydra"):
            raise UserError(nearest(name, known, "option"))


def _in_one_line(error: Exception) -> str:
    return re.sub(r"\s*\n\s*", "; ", str(error).strip())


def typed(schema: type[T], values: Mapping, where: str = "") -> T:
    """`values` as an instance of the dataclass `schema`, nested ones included.

    Raises UserError naming an unknown key, with the nearest known one, or a value of a wrong type.
    """
    kinds = typing.get_type_hints(schema)
    known = [field.name for field in dataclasses.fields(schema)]  # type: ignore[arg-type]
    given = {}
    for name, value in values.items():
        if name not in known:
            raise UserError(nearest(f"{where}{name}", [where + k for k in known], "option"))
        given[name] = _value(f"{where}{name}", kinds[name], value)
    return schema(**given)


def _is_schema(kind: Any) -> bool:
    return dataclasses.is_dataclass(kind)


def _value(name: str, kind: Any, value: Any) -> Any:
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    for one in kinds:
        if _is_schema(one) and isinstance(value, Mapping):
            return typed(one, value, f"{name}.")
        origin = typing.get_origin(one) or one
        if origin is tuple and isinstance(value, list | tuple):
            inner = typing.get_args(one)
            return tuple(_value(name, inner[0], item) for item in value)
        if origin is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if origin is int and isinstance(value, bool):
            continue
        if isinstance(value, origin):
            return value
    expected = " or ".join("null" if one is types.NoneType else getattr(one, "__name__", str(one)) for one in kinds)
    expected = expected.replace("tuple", "a list, [a,b]")
    raise UserError(f"{name}={value!r} is of type {type(value).__name__}, expected {expected}")
