"""Between dataclasses and OmegaConf: a schema as a node that hydra merges into, and a node as a frozen dataclass."""

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard, TypeVar

from omegaconf import DictConfig, ListConfig, OmegaConf

from sim.core.errors import UserError, nearest
from sim.core.options import check_value

T = TypeVar("T")


def node(schema: type) -> DictConfig:
    """Return a dataclass' defaults as a typed node that can be merged into.

    OmegaConf 2.3 takes a frozen dataclass for a read-only node, also where it is only the schema of one, and lets
    no key be added to a typed dict.
    """
    return _writable(OmegaConf.structured(schema))


def _writable(config: DictConfig) -> DictConfig:
    OmegaConf.set_readonly(config, None)
    for name in config:
        child = config._get_node(name)  # noqa: SLF001 - the public way resolves interpolations
        if isinstance(child, DictConfig):
            _writable(child)
            if OmegaConf.get_type(child) is dict:
                OmegaConf.set_struct(child, value=False)
    return config


def typed(schema: type[T], values: Mapping, where: str = "") -> T:
    """Return `values` as an instance of the dataclass `schema`, nested ones included, every field checked.

    values: plain, or a composed node, of which a nested dataclass may be of a derived type. Raises UserError naming
    an unknown key, with the nearest known one, a value of a wrong type, or one that its field does not take.
    """
    derived = OmegaConf.get_type(values) if isinstance(values, DictConfig) else None
    if is_schema(derived) and issubclass(derived, schema):
        schema = typing.cast(type[T], derived)
    kinds = typing.get_type_hints(schema)
    known = {field.name: field for field in dataclasses.fields(schema)}  # type: ignore[arg-type]
    given = {}
    for name, value in values.items():
        if name not in known:
            raise UserError(nearest(f"{where}{name}", [where + one for one in known], "option"))
        given[name] = _value(f"{where}{name}", kinds[name], value)
        check_value(known[name], f"{where}{name}", given[name])
    return schema(**given)


def _value(name: str, kind: Any, value: Any) -> Any:
    for one in alternatives(kind):
        if is_schema(one) and isinstance(value, Mapping):
            return typed(one, value, f"{name}.")
        origin = typing.get_origin(one) or one
        if origin is tuple and isinstance(value, list | tuple | ListConfig):
            inner = typing.get_args(one)[0]
            return tuple(_value(name, inner, item) for item in value)
        if origin is dict and isinstance(value, DictConfig):
            return OmegaConf.to_container(value, resolve=True)
        if origin is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if origin is int and isinstance(value, bool):
            continue
        if isinstance(value, origin):
            return value
    raise UserError(f"{name}={value!r} is of type {type(value).__name__}, expected {described(kind)}")


def is_schema(kind: Any) -> TypeGuard[type]:
    """Return whether `kind` is a dataclass, not an instance of one."""
    return isinstance(kind, type) and dataclasses.is_dataclass(kind)


def alternatives(kind: Any) -> tuple:
    """Return the members of a union, or the one type itself."""
    return typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)


def described(kind: Any) -> str:
    """Return a type in the words of an error: "int or null", "a list, [a,b]"."""
    names = ["null" if one is types.NoneType else getattr(one, "__name__", str(one)) for one in alternatives(kind)]
    return " or ".join(names).replace("tuple", "a list, [a,b]")


def nested(schema: type) -> Iterator[tuple[dataclasses.Field, Any]]:
    """Yield a dataclass' fields with their types."""
    kinds = typing.get_type_hints(schema)
    for field in dataclasses.fields(schema):  # type: ignore[arg-type]
        yield field, kinds[field.name]


def kind_of(schema: type, option: str) -> Any:
    """Return the type of a dotted option, "optim.steps"; None where the schema has no such field."""
    head, _, rest = option.partition(".")
    kind = typing.get_type_hints(schema).get(head) if is_schema(schema) else None
    if not rest or kind is None:
        return kind
    return next((kind_of(one, rest) for one in alternatives(kind) if is_schema(one)), None)
