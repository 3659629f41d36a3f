"""From the command line to a frozen dataclass: hydra composes a program's schema, `conf/` and what was typed.

A program's dataclass is registered in hydra's ConfigStore under `<program>_schema` and states every default; each
nested dataclass that has a folder in `conf/` is the group's `base`. The YAML files state differences alone.
"""

import contextlib
import dataclasses
import functools
import re
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sim.core import console
from sim.core.command_line import Words, as_overrides, quoted
from sim.core.errors import UserError, nearest
from sim.core.options import OneOf, option
from sim.core.paths import CONF, check_data
from sim.core.plugins import load_entry_points, load_plugins
from sim.core.structured import alternatives, described, is_choice, is_schema, kind_of, nested, node, typed

BASE = "base"  # in a group of a dataclass: its defaults, which the files state differences to
T = TypeVar("T")
WRONG_TYPE = r"Value '(.*)' (?:of type '(\w+)' could not be converted|(is not a valid bool))"  # as OmegaConf says it


@dataclasses.dataclass(frozen=True)
class ProgramOptions:
    """What every program takes beside its own options."""

    plugins: tuple[str, ...] = option((), "your own modules to import: they register tasks, robots, parts, algorithms")
    log_level: str = option("info", "", OneOf(console.LEVELS))
    log_format: str = option("text", "text: for people; json: an event a line", OneOf(console.FORMATS))


COMMON = tuple(field.name for field in dataclasses.fields(ProgramOptions))


@functools.cache
def extended(schema: type) -> type:
    """Return `schema` with the options that every program takes, as hydra composes it."""
    common = [
        (field.name, field.type, dataclasses.field(default=field.default, metadata=field.metadata, kw_only=True))
        for field in dataclasses.fields(ProgramOptions)
    ]
    return dataclasses.make_dataclass(schema.__name__, common, bases=(schema,), frozen=True)


def load(program: str, schema: type[T], words: Sequence[str] = ()) -> T:
    """Return the configuration of `program` with a command line's words; UserError names what is wrong in them."""
    return as_config(schema, composed(program, schema, Words.of(words)))


def as_config(schema: type[T], config: DictConfig) -> T:
    """Return a program's own part of what was composed, every value checked."""
    return typed(schema, {str(name): value for name, value in config.items() if name not in COMMON})


def program_options(config: DictConfig) -> ProgramOptions:
    """Return the part that every program has."""
    return typed(ProgramOptions, {name: config[name] for name in COMMON})


def load_group(group: str, choice: str, schema: type[T]) -> T:
    """Return one choice of a group alone, e.g. ("randomize", "full"). UserError names the nearest choice."""
    _store_group(group, schema)
    return typed(schema, group_values(group, choice))


def group_values(group: str, choice: str) -> Mapping:
    """Return what one choice of a group states, no more; UserError as `load_group`."""
    with _hydra():
        if choice not in (known := choices(group)):
            raise UserError(nearest(choice, known, f"choice for {group}"))
        whole = cast(DictConfig, compose(f"{group}/{choice}"))
        return next(iter(whole.values()), {})  # under its package: the group's name, or another (dynamics: randomize)


def composed(program: str, schema: type, words: Words) -> DictConfig:
    """Return the typed node that hydra composes of `schema`, `conf/` and the words. Raises UserError.

    Plug-ins are imported before: what they register can be chosen.
    """
    overrides = overrides_of(schema, words)
    store(program, schema)
    with _hydra(), _in_one_line(schema):
        search = _search(words)
        _check_keys(extended(schema), overrides, search)
        config = compose(words.config_name or root_name(program), [*search, *overrides])
    load_plugins(program_options(config).plugins)  # those that a preset names
    return config


def overrides_of(schema: type, words: Words) -> list[str]:
    """Return the words as hydra's overrides; plug-ins that they name are imported. Raises UserError."""
    overrides = as_overrides(extended(schema), words)
    load_entry_points()
    for one in overrides:
        if one.lstrip("+").startswith("plugins="):
            with _in_one_line(schema):
                named = OverridesParser.create().parse_override(one).value()
            load_plugins([str(name) for name in named] if isinstance(named, list) else [])
    return overrides


def store(program: str, schema: type) -> None:
    """Register a program's schema and the bases of its groups in hydra's ConfigStore.

    Two programs may have different dataclasses for one group: the one that is composed next counts.
    """
    ConfigStore.instance().store(name=f"{program}_schema", node=_node(extended(schema)))
    for field, kind in nested(schema):
        for one in alternatives(kind):
            if is_schema(one) and not is_choice(one):
                _store_group(field.name, one)


def _store_group(group: str, schema: type) -> None:
    """Register the base of a group, and the choices that a dataclass has by its class method `choices`."""
    if (CONF / group).is_dir():
        ConfigStore.instance().store(group=group, name=BASE, node=_node(schema))
        for name, values in getattr(schema, "choices", dict)().items():
            ConfigStore.instance().store(group=group, name=name, node=OmegaConf.create(dict(values)))


_node = functools.cache(node)


def root_name(program: str) -> str:
    """Return the program's own file, or its schema where there is nothing to add to it."""
    return program if (CONF / f"{program}.yaml").is_file() else f"{program}_schema"


def group_choices(program: str, schema: type, words: Words) -> Mapping[str, tuple[str, list[str]]]:
    """Return the groups of a program: the chosen file and all there are; of `exp` only those that fit it."""
    overrides = overrides_of(schema, words)
    store(program, schema)
    with _hydra(), _in_one_line(schema):
        search = _search(words)
        root = words.config_name or root_name(program)
        whole = compose(root, [*search, *overrides], return_hydra_config=True)
        chosen = {
            str(group): name
            for group, name in whole.hydra.runtime.choices.items()
            if not str(group).startswith("hydra/") and group != "exp"
        }
        fitting = [name for name in choices("exp", search) if _fits("exp", name, schema, chosen, words)]
        return {group: (name, choices(group, search)) for group, name in chosen.items()} | {"+exp": ("NAME", fitting)}


def _fits(group: str, name: str, schema: type, groups: Collection[str], words: Words) -> bool:
    """Return whether a program has every option and group that a file states; to compose each would take
    half a second."""
    places = [Path(place) / group / f"{name}.yaml" for place in (words.config_dir, CONF) if place]
    if not (found := next((place for place in places if place.is_file()), None)):
        return False
    values = yaml.safe_load(found.read_text()) or {}
    try:
        for key in _keys({name: value for name, value in values.items() if name != "defaults"}):
            _check_key(extended(schema), key)
    except UserError:
        return False
    named = [item for one in values.get("defaults", ()) if isinstance(one, Mapping) for item in one.items()]
    return all(
        group.removeprefix("override /") in groups
        if group.startswith("override ")
        else _fits(group.lstrip("/"), choice, schema, groups, words)
        for group, choice in named
    )


def _keys(values: Mapping, where: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _keys(value, f"{where}{name}.")
        else:
            yield f"{where}{name}"


def _search(words: Words) -> list[str]:
    return [f"hydra.searchpath=[{quoted(f'file://{words.config_dir}')}]"] if words.config_dir else []


def choices(group: str, search: Sequence[str] = ()) -> list[str]:
    """Return the names of a group's files, those of `--config-dir` included; within `_hydra`."""
    loader = GlobalHydra.instance().config_loader()
    names = loader.get_group_options(group, ObjectType.CONFIG, overrides=list(search) or None)
    return [name for name in names if name != BASE or (CONF / group / f"{BASE}.yaml").is_file()]


@contextlib.contextmanager
def _hydra() -> Iterator[None]:
    check_data()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        yield


def _check_keys(schema: type, overrides: Sequence[str], search: Sequence[str]) -> None:
    """Name a misspelt option or group choice before hydra does so in several lines."""
    for override in overrides:
        if override.startswith(("hydra.", "hydra/")):
            continue
        name, _, choice = override.partition("=")
        name = name.lstrip("+~")
        if known := choices(name.partition("@")[0], search):
            OneOf(known)(f"choice for {name}", tuple(choice.split(",")))
        else:
            _check_key(schema, name)


def _check_key(schema: type, name: str, where: str = "") -> None:
    head, _, rest = name.partition(".")
    kinds = dict((field.name, kind) for field, kind in nested(schema))
    if head not in kinds:
        if inside := sorted({f"{where}{block}.{name}" for block, kind in kinds.items() if _has(kind, head)}):
            raise UserError(f"unknown option {where + name!r}; did you mean {' or '.join(map(repr, inside))}?")
        raise UserError(nearest(f"{where}{head}", [where + one for one in kinds], "option"))
    for kind in alternatives(kinds[head]):
        if rest and typing.get_origin(kind) is tuple:
            raise UserError(f"{where}{name} is no option: {where}{head} is a list, give it as a whole, [a,b]")
        if rest and is_schema(kind) and not is_choice(kind):  # what a choice takes, only `typed` knows
            _check_key(kind, rest, f"{where}{head}.")


def _has(kind: Any, name: str) -> bool:
    """Return whether a block of this kind has an option of that name."""
    blocks = [one for one in alternatives(kind) if is_schema(one) and not is_choice(one)]
    return any(field.name == name for block in blocks for field, _ in nested(block))


@contextlib.contextmanager
def _in_one_line(schema: type) -> Iterator[None]:
    """Turn hydra's and OmegaConf's errors into a UserError."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        line = _type_error(schema, error.__cause__) or _parse_error(error) or _foreign_choice(error)
        raise UserError(line or _with_cause(error)) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"a file of conf or of --config-dir is no YAML: {_joined(error)}") from error


def _type_error(schema: type, cause: BaseException | None) -> str:
    """Return the line for a value that could not be converted, "" for another error."""
    found = re.match(WRONG_TYPE, str(cause), re.DOTALL)
    key = re.sub(r"\[\d+\]$", "", getattr(cause, "full_key", None) or "")
    kind = kind_of(schema, key)
    if not found or kind is None:
        return ""
    if found[3]:
        return f"{key}={found[1]}, expected true or false"
    value = repr(found[1]) if found[2] == "str" else found[1]
    return f"{key}={value} is of type {found[2]}, expected {described(kind)}"


def _parse_error(error: Exception) -> str:
    """Return the line for a word that hydra's grammar does not take, "" for another error."""
    if not isinstance(error, OverrideParseException):
        return ""
    said = [line for line in error.message.splitlines() if not line.startswith("Error parsing")]
    why = said[0].partition(" expecting ")[0]
    name = error.override.partition("=")[0]
    return f"{error.override} is not understood ({why}); expected key=value, a text with such letters {name}='\"TEXT\"'"


def _foreign_choice(error: Exception) -> str:
    """Return the line for a group's file that states options of another program's dataclass, "" for another error."""
    found = re.search(r"In '(.*?)/(.*?)':.*full_key: (\S+)", str(error), re.DOTALL)
    return f"{found[1]}={found[2]} is not for this program, which has no option {found[3]}" if found else ""


def _with_cause(error: Exception) -> str:
    """Return what hydra says, and what OmegaConf says of the value where hydra does not."""
    said = str(error.__cause__ or "").splitlines()[:1]
    return _joined(error) if not said or said[0] in str(error) else f"{_joined(error)}: {said[0]}"


def _joined(error: Exception) -> str:
    return re.sub(r"\s*\n\s*", "; ", str(error).strip())
