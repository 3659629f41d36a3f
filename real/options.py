"""Command-line options `key=value` as a frozen dataclass, every key and value checked."""

import dataclasses
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


def _convert(name: str, kind: type, text: str):
    if kind is bool:
        if text.lower() in _TRUE + _FALSE:
            return text.lower() in _TRUE
        raise UserError(f"{name}={text!r} is neither true nor false")
    try:
        return kind(text)
    except ValueError as error:
        raise UserError(f"{name}={text!r} is not a number of type {kind.__name__}") from error
