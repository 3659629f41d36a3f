"""Frozen dataclasses as flat records and back: what an episode drew, as columns of a dataset keep it.

A record holds scalars, texts and flat lists by field name: names are joined into one text, points (x, y) laid out one
after the other. A field that is None, or that is left out of comparisons, is not recorded.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")
SEPARATOR = ","  # of joined names, unless a field's metadata says "separator"


def to_record(values: Any) -> dict[str, Any]:
    """Return the fields of a dataclass as a flat record."""
    kinds = _kinds(type(values))
    fields = {field.name: field for field in dataclasses.fields(values) if field.compare}
    given = {name: getattr(values, name) for name in fields}
    return {
        name: _encode(value, kinds[name], fields[name].metadata.get("separator", SEPARATOR))
        for name, value in given.items()
        if value is not None
    }


def from_record(cls: type[T], record: Mapping[str, Any]) -> T:
    """Return a `cls` with the values of a record; what the record lacks keeps its default. Other keys are ignored.

    Raises KeyError for a missing value that has no default.
    """
    kinds, given = _kinds(cls), {}
    for field in dataclasses.fields(cls):  # pyright: ignore[reportArgumentType]
        if field.compare and record.get(field.name) is not None:
            separator = field.metadata.get("separator", SEPARATOR)
            given[field.name] = _decode(record[field.name], kinds[field.name], separator)
        elif field.default is field.default_factory is dataclasses.MISSING:
            raise KeyError(field.name)
    return cls(**given)


def _kinds(cls: type) -> dict[str, Any]:
    """Return the type of each field, the None of an optional one left out."""
    hints = typing.get_type_hints(cls)
    return {
        name: next(one for one in typing.get_args(hint) if one is not types.NoneType)
        if isinstance(hint, types.UnionType)
        else hint
        for name, hint in hints.items()
    }


def _encode(value: Any, kind: Any, separator: str) -> Any:
    if typing.get_origin(kind) is not tuple:
        return value
    inner = typing.get_args(kind)[0]
    if inner is str:
        return separator.join(value)
    return [number for point in value for number in point] if typing.get_origin(inner) is tuple else list(value)


def _decode(value: Any, kind: Any, separator: str) -> Any:
    if typing.get_origin(kind) is not tuple:
        return kind(value)
    inner = typing.get_args(kind)[0]
    if inner is str:
        return tuple(value.split(separator)) if value else ()
    if typing.get_origin(inner) is not tuple:
        return tuple(inner(item) for item in value)
    size = len(typing.get_args(inner))
    numbers = [float(item) for item in value]
    return tuple(tuple(numbers[i : i + size]) for i in range(0, len(numbers), size))
