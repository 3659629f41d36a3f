"""Between dataclasses and OmegaConf: a schema as a node that hydra merges into, and a node as a frozen dataclass."""

import dataclasses
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeGuard, TypeVar

from omegaconf import DictConfig, ListConfig, OmegaConf

from sim.core.errors import UserError, nearest
from sim.core.options import check_value
from sim.core.registry import Choice

T = TypeVar("T")
OPENED = "opened_from"  # attribute of a schema made by `_with_open_choices`


def node(schema: type) -> DictConfig:
    """Return a dataclass' defaults as a typed node that can be merged into; of a Choice, its name alone.

    OmegaConf 2.3 takes a frozen dataclass for a read-only node, also where it is only the schema of one, and lets
    no key be added to a typed dict.
    """
    return _writable(OmegaConf.structured(_with_open_choices(schema)))


def _with_open_choices(schema: type) -> type:
    """Return `schema`, or one derived from it in which a Choice is an open dictionary: its name says what it takes.

    What may be a list or something else, which OmegaConf knows no type for, is left untyped there.
    """
    opened = [
        (
            field.name,
            dict[str, Any],
            dataclasses.field(default_factory=_name_of(field), kw_only=True, metadata=field.metadata),
        )
        for field, kind in nested(schema)
        if is_choice(kind)
    ]
    opened += [
        (field.name, Any, dataclasses.field(default=field.default, kw_only=True, metadata=field.metadata))
        for field, kind in nested(schema)
        if _may_be_a_list(kind)
    ]
    if not opened:
        return schema
    derived = dataclasses.make_dataclass(schema.__name__, opened, bases=(schema,), frozen=True)
    setattr(derived, OPENED, schema)
    return derived


def _may_be_a_list(kind: Any) -> bool:
    """Return whether `kind` is a union of a list and something else than null."""
    others = [one for one in alternatives(kind) if one is not types.NoneType]
    return len(others) > 1 and any(typing.get_origin(one) is tuple for one in others)


def expanded(config: DictConfig) -> dict[str, Any]:
    """Return the values of a composed node by name, of a Choice the whole node of the class that its name chooses."""
    schema: Any = OmegaConf.get_type(config)
    values: dict[str, Any] = {str(name): value for name, value in config.items()}
    for field, kind in nested(getattr(schema, OPENED, schema)):
        if is_choice(kind) and values[field.name] is not None:
            chosen = _chosen(_choice_of(kind), values[field.name], f"{field.name}.")
            values[field.name] = OmegaConf.merge(node(chosen), values[field.name])
    return values


def _name_of(field: dataclasses.Field) -> Callable[[], dict | None]:
    default = _default(field)
    return lambda: {"name": default.name} if default else None


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

    values: plain, or a composed node, of which a nested dataclass may be of a derived type; of a Choice, `name` says
    which. Raises UserError naming an unknown key, with the nearest known one, a value of a wrong type, or one that
    its field does not take.
    """
    derived = OmegaConf.get_type(values) if isinstance(values, DictConfig) else None
    if is_choice(schema):
        schema = _chosen(schema, values, where)
    elif is_schema(derived) and issubclass(derived, schema):
        schema = typing.cast(type[T], getattr(derived, OPENED, derived))
    kinds = typing.get_type_hints(schema)
    known = {field.name: field for field in dataclasses.fields(schema)}  # type: ignore[arg-type]
    given = {}
    for name, value in values.items():
        if name not in known:
            raise UserError(nearest(f"{where}{name}", [where + one for one in known], "option"))
        if is_choice(kinds[name]) and isinstance(value, Mapping):
            value = _completed(known[name], value)
        given[name] = _value(f"{where}{name}", kinds[name], value)
        check_value(known[name], f"{where}{name}", given[name])
    return schema(**given)


def _chosen(schema: Any, values: Mapping, where: str) -> type:
    """Return the registered class that `name` chooses. UserError when it is missing or unknown."""
    if "name" not in values:
        raise UserError(f"{where}name is missing, expected one of {', '.join(schema.registry.names())}")
    return schema.registry.get(values["name"])


def _completed(field: dataclasses.Field, values: Mapping) -> Mapping:
    """Return the values of a Choice over those of the field's default, where that is of the same name."""
    default = _default(field)
    if default is None or values.get("name", default.name) != default.name:
        return values
    return {one.name: getattr(default, one.name) for one in dataclasses.fields(default)} | dict(values.items())


def _default(field: dataclasses.Field) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


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
    return isinstance(kind, type) and (dataclasses.is_dataclass(kind) or issubclass(kind, Choice))


def is_choice(kind: Any) -> bool:
    """Return whether `kind` is a base of registered dataclasses, or a union with one."""
    return _choice_of(kind) is not None


def _choice_of(kind: Any) -> Any:
    bases = (one for one in alternatives(kind) if isinstance(one, type) and issubclass(one, Choice))
    return next((one for one in bases if "registry" in vars(one)), None)


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
    if is_choice(schema):
        registry = schema.registry
        registered = (kind_of(registry.get(name), option) for name in registry.names())
        return next((kind for kind in registered if kind is not None), None)
    head, _, rest = option.partition(".")
    kind = typing.get_type_hints(schema).get(head) if is_schema(schema) else None
    if not rest or kind is None:
        return kind
    return next((kind_of(one, rest) for one in alternatives(kind) if is_schema(one)), None)
