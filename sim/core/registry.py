"""Parts by name: tasks, robots, policy parts and RL algorithms are registered by a decorator and found here.

    TASKS = Registry[type[Task]]("task", package="sim.tasks")

    @TASKS.register("stack")
    class Stack(Task): ...

The modules of `package`, the installed plug-ins and those named by `plugins=[MODULE]` register themselves
when they are imported, which happens at the first look-up: a new part is one new file.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Generic, TypeVar

from sim.core.deprecated import current
from sim.core.errors import UserError, nearest
from sim.core.plugins import load_entry_points

T = TypeVar("T")
R = TypeVar("R")


class Registry(Generic[T]):
    """Objects of one kind by name."""

    def __init__(self, kind: str, package: str | None = None, renamed: Mapping[str, str] | None = None):
        """kind: what the objects are, for messages. package: its modules are imported at the first look-up.

        renamed: old name -> present name, of `sim.core.deprecated`.
        """
        self.kind = kind
        self._package, self._renamed = package, renamed or {}
        self._found: dict[str, T] = {}
        self._complete = False

    def register(self, name: str) -> Callable[[R], R]:
        """Return a decorator that registers a class, function or object. UserError when the name is taken."""

        def add(item: R) -> R:
            taken = self._found.get(name)
            if taken is not None and _origin(taken) != _origin(item):
                raise UserError(f"{self.kind} {name!r} is registered twice, by {_origin(taken)} and {_origin(item)}")
            self._found[name] = item  # pyright: ignore[reportArgumentType]
            return item

        return add

    def get(self, name: str) -> T:
        """Return what was registered as `name`, present or old. UserError names the nearest choice."""
        self._import_parts()
        name = current(self.kind, name, self._renamed)
        if name not in self._found:
            raise UserError(nearest(name, self._found, self.kind))
        return self._found[name]

    def names(self) -> tuple[str, ...]:
        """Return every registered name, sorted."""
        self._import_parts()
        return tuple(sorted(self._found))

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def _import_parts(self) -> None:
        if self._complete:
            return
        self._complete = True  # before the imports: a part may look up another while it is imported
        if self._package:
            package = importlib.import_module(self._package)
            for module in pkgutil.iter_modules(package.__path__, f"{self._package}."):
                importlib.import_module(module.name)
        load_entry_points()


class Choice:
    """Base of configurations, frozen dataclasses, of which the field `name` chooses one registered class.

    `sim.core.structured.typed` takes `{name: X, ...}` for a field of such a type and returns an instance of X's class.
    """

    registry: ClassVar[Registry[type]]
    name: str


def _origin(item: Any) -> str:
    """Return where an object was defined, module and name."""
    named = item if hasattr(item, "__qualname__") else type(item)
    return f"{named.__module__}.{named.__qualname__}"
