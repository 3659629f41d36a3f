"""Modules of others that register parts: named by `plugins=[MODULE]` or installed with an entry point.

A distribution announces its modules in the entry-point group `fr3_vla.plugins`; they are imported
in every process at the first look-up of a part. `plugins=` names modules on Python's path.
"""

import functools
import importlib
from collections.abc import Sequence
from importlib import metadata

from sim.core.errors import UserError

GROUP = "fr3_vla.plugins"  # of entry points

_loaded: list[str] = []


def load_plugins(modules: Sequence[str]) -> None:
    """Import the modules, which register their parts. UserError when one cannot be imported."""
    for module in modules:
        if module not in _loaded:
            _import(module, f"plugins=[{','.join(modules)}]")
            _loaded.append(module)


def loaded_plugins() -> tuple[str, ...]:
    """Return the modules that `load_plugins` imported: worker processes import the same."""
    return tuple(_loaded)


@functools.cache
def load_entry_points() -> None:
    """Import the modules that installed distributions announce. UserError when one cannot be imported."""
    for point in metadata.entry_points(group=GROUP):
        _import(point.module, f"entry point {point.name!r} of {GROUP}")


def _import(module: str, named_by: str) -> None:
    try:
        importlib.import_module(module)
    except Exception as error:  # a module of somebody else's raises anything
        why = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
        raise UserError(f"{named_by}: cannot import {module!r}: {why}") from error
