"""Command-line options `key=value` as a frozen dataclass, every key and value checked."""

import dataclasses
import types
import typing
from collections.abc import Sequence
from typing import TypeVar

from sim.errors import UserError, nearest

Config = TypeVar("Config")  # a dataclass
_TRUE, _FALSE = ("true", "1", "yes"), ("false", "0", "no")


def parse_options(schema: type[Config], arguments: Sequence[str]) -> Config:
    """An instance of `schema` (fields str, int, float or bool). UserError names the wrong key or value."""
    fields = {field.name: field for field in dataclasses.fields(schema)}  # type: ignore
    values = {}
    for argument in arguments:
        name, equals, text = argument.partition("=")
        if not equals:
            raise UserError(f"{argument!r} is not understood, expected key=value with one of {', '.join(fields)}")
        if name not in fields:
            raise UserError(nearest(name, fields, "option"))
        values[name] = _convert(name, typing.get_type_hints(schema)[name], text)
    return schema(**values)


def typed(schema: type[Config], values: dict, where: str = "") -> Config:
    """`values` (of a composed configuration) as `schema`; UserError names an unknown key or a wrong value.

    where: prefix of the keys in messages, e.g. "robot.".
    """
    fields = {field.name: field for field in dataclasses.fields(schema)}  # type: ignore
    for name, value in values.items():
        if name not in fields:
            raise UserError(nearest(where + name, [where + known for known in fields], "option"))
        _check(where + name, typing.get_type_hints(schema)[name], value)
    return schema(**values)


def _check(name: str, kind, value) -> None:
    """Values are plain: None, str, bool, int, float or a dict of them; an int will do for a float."""
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    allowed = tuple(typing.get_origin(one) or one for one in kinds)
    if float in allowed:
        allowed += (int,)
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        expected = " or ".join("nothing" if one is types.NoneType else one.__name__ for one in dict.fromkeys(allowed))
        raise UserError(f"{name}={value!r} is of type {type(value).__name__}, expected {expected}")


def _convert(name: str, kind: type, text: str):
    if kind is bool:
        if text.lower() in _TRUE + _FALSE:
            return text.lower() in _TRUE
        raise UserError(f"{name}={text!r} is neither true nor false")
    try:
        return kind(text)
    except ValueError as error:
        raise UserError(f"{name}={text!r} is not a number of type {kind.__name__}") from error
