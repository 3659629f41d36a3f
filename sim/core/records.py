"""Frozen dataclasses as flat records and back: what an episode drew, as columns of a dataset keep it.

A record holds scalars, texts and flat lists by field name: names are joined into one text, points (x, y) laid out one
after the other. A field that is None, or that is left out of comparisons, is not recorded. A field's metadata may name
a "separator", or "one_as_number": a list of one is recorded as a number.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
SEPARATOR = ","  # of joined names


def to_record(values: Any) -> dict[str, Any]:
    """Return the fields of a dataclass as a flat record."""
    kinds = _kinds(type(values))
    fields = {field.name: field for field in dataclasses.fields(values) if field.compare}
    given = {name: getattr(values, name) for name in fields}
    return {
        name: _encode(value, kinds[name], fields[name].metadata) for name, value in given.items() if value is not None
    }


def from_record(cls: type[T], record: Mapping[str, Any]) -> T:
    """Return a `cls` with the values of a record; what the record lacks keeps its default. Other keys are ignored.

    Raises KeyError for a missing value that has no default.
    """
    kinds, given = _kinds(cls), {}
    for field in dataclasses.fields(cls):  # pyright: ignore[reportArgumentType]
        if field.compare and record.get(field.name) is not None:
            given[field.name] = _decode(record[field.name], kinds[field.name], field.metadata)
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


def _encode(value: Any, kind: Any, metadata: Mapping) -> Any:
    if typing.get_origin(kind) is not tuple:
        return value
    inner = typing.get_args(kind)[0]
    if inner is str:
        return metadata.get("separator", SEPARATOR).join(value)
    if len(value) == 1 and metadata.get("one_as_number"):
        return value[0]
    return [number for point in value for number in point] if typing.get_origin(inner) is tuple else list(value)


def _decode(value: Any, kind: Any, metadata: Mapping) -> Any:
    if typing.get_origin(kind) is not tuple:
        return kind(value)
    inner = typing.get_args(kind)[0]
    if inner is str:
        return tuple(value.split(metadata.get("separator", SEPARATOR))) if value else ()
    if not isinstance(value, Sequence):
        return (inner(value),)
    if typing.get_origin(inner) is not tuple:
        return tuple(inner(item) for item in value)
    size = len(typing.get_args(inner))
    numbers = [float(item) for item in value]
    return tuple(tuple(numbers[i : i + size]) for i in range(0, len(numbers), size))
