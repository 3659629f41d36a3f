"""Options of programs: dataclass fields that carry a comment and the values they take.

    episodes: int = option(500, "demonstrations to collect", at_least(1))

`sim.core.config` tests them wherever a configuration is composed, and `--help` prints the comments.
"""

import dataclasses
import math
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sim.core.errors import UserError, nearest
from sim.core.registry import Registry

COMMENT, CHECKS = "comment", "checks"  # keys of a field's metadata
DATASET, CHECKPOINT = ("meta/info.json",), ("config.json", "model.safetensors")  # files by which such a folder is known
MAX_SEED, MAX_PORT = 2**31 - 1, 65535
T = TypeVar("T")


class Check(Protocol):
    """What an option's value must be like."""

    @property
    def expected(self) -> str:
        """In words, for `--help` and errors."""
        ...

    def __call__(self, name: str, value: Any) -> None:
        """Raise UserError, one line with the option's name, the value and what is expected."""


def option(default: T, comment: str = "", *checks: Check) -> T:
    """Return a dataclass field with a default, a comment for `--help`, and checks of its values.

    Typed as the default's type, as `dataclasses.field` is. None passes every check: its meaning is the comment's.
    """
    return dataclasses.field(default=default, metadata={COMMENT: comment, CHECKS: checks})


def required(comment: str, *checks: Check) -> Any:
    """Return a dataclass field without a default, otherwise as `option`."""
    return dataclasses.field(metadata={COMMENT: comment, CHECKS: checks})


def block(factory: Callable[[], T], comment: str = "") -> T:
    """Return a dataclass field that holds a dataclass of its own, made by `factory`."""
    return dataclasses.field(default_factory=factory, metadata={COMMENT: comment})


class Options:
    """Base of a dataclass whose values are checked when it is made; what rests on several is its own to add."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            check_value(field, field.name, getattr(self, field.name))


def check_value(field: dataclasses.Field, name: str, value: Any) -> None:
    """Raise UserError when `value` is not what the field takes; numbers must be finite in any case."""
    _check_finite(name, value)
    for check in field.metadata.get(CHECKS, ()) if value is not None else ():
        check(name, value)


def _check_finite(name: str, value: Any) -> None:
    for one in value if isinstance(value, tuple) else (value,):
        if isinstance(one, float) and not math.isfinite(one):
            raise UserError(f"{name}={shown(value)}, expected a finite number")


# ---- checks ------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Each:
    """A test of the value, of a list every element."""

    accepts: Callable[[Any], bool]
    expected: str

    def __call__(self, name: str, value: Any) -> None:
        for one in value if isinstance(value, tuple) else (value,):
            if not self.accepts(one):
                raise UserError(f"{name}={shown(value)}, expected {self.expected}")


@dataclasses.dataclass(frozen=True)
class OneOf:
    """A name among `choices`, or names; `renamed`: old ones, which are taken too."""

    choices: Collection[str]
    renamed: Collection[str] = ()

    @property
    def expected(self) -> str:
        return f"one of {', '.join(sorted(self.choices))}"

    def __call__(self, name: str, value: Any) -> None:
        for one in value if isinstance(value, tuple) else (value,):
            if one not in (*self.choices, *self.renamed):
                raise UserError(nearest(str(one), self.choices, name))


@dataclasses.dataclass(frozen=True)
class Registered:
    """A name, or names, of what a registry holds when it is tested: plug-ins count, and so do old names.

    also: names with a meaning of their own.
    """

    registry: Registry
    also: Collection[str] = ()

    @property
    def expected(self) -> str:
        return f"one of {', '.join((*self.also, *self.registry.names()))}"

    def __call__(self, name: str, value: Any) -> None:
        for one in value if isinstance(value, tuple) else (value,):
            if one not in self.also:
                self.registry.get(one)


@dataclasses.dataclass(frozen=True)
class Span:
    """A range [low, high] within bounds."""

    low: float
    high: float

    @property
    def expected(self) -> str:
        return f"[low, high] within {self.low:g} and {self.high:g}"

    def __call__(self, name: str, value: Any) -> None:
        if len(value) != 2 or not self.low <= value[0] <= value[1] <= self.high:
            raise UserError(f"{name}={shown(value)}, expected {self.expected}")


def at_least(low: float) -> Check:
    return Each(lambda value: value >= low, f"at least {low:g}")


def above(low: float) -> Check:
    return Each(lambda value: value > low, f"more than {low:g}")


def between(low: float, high: float) -> Check:
    return Each(lambda value: low <= value <= high, f"from {low:g} to {high:g}")


def multiple_of(step: int, low: int, high: int) -> Check:
    return Each(lambda value: low <= value <= high and not value % step, f"a multiple of {step} from {low} to {high}")


def span(low: float, high: float) -> Check:
    return Span(low, high)


def one_of(*choices: str) -> Check:
    return OneOf(choices)


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a program may write: a folder, new or not, or a file in one; never among a dataset's files, and in a
    checkpoint results alone."""

    file: bool = False
    dataset: bool = False  # the folder itself may be one
    results: bool = False

    @property
    def expected(self) -> str:
        return "a file that can be written" if self.file else "a folder that can be written"

    def __call__(self, name: str, value: str) -> None:
        if not _is_utf8(value):  # pyarrow would refuse it when the first episode is written
            raise UserError(f"{name}={value} holds bytes that are no UTF-8; choose another name, or set LC_ALL=C.UTF-8")
        path = Path(value)
        try:
            there = next(one for one in (path, *path.parents) if one.exists() or one.is_symlink())
            fits = there.is_dir() if there != path or not self.file else there.is_file()
            named = value.strip() and path.resolve().name  # no name: the root
            good = bool(named) and fits and os.access(there, os.W_OK)
        except (OSError, ValueError):  # a name too long, a byte that no name can have
            there, good = path, False
        if not good:
            found = "" if there == path or not value.strip() else f" ({there} cannot hold it)"
            raise UserError(f"{name}={value}, expected {self.expected}{found}")
        here, *above = (path.resolve(), *path.resolve().parents)
        self._check_outside(name, value, above if self.dataset else [here, *above], DATASET)
        self._check_outside(name, value, [] if self.results else above, CHECKPOINT)

    def _check_outside(self, name: str, value: str, folders: Sequence[Path], files: tuple[str, ...]) -> None:
        for folder in folders:
            if all((folder / file).is_file() for file in files):
                raise UserError(f"{name}={value}, expected a place outside of {folder}, which holds {files[-1]}")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class _NotEmpty:
    expected = "at least one"

    def __call__(self, name: str, value: Any) -> None:
        if not value:
            raise UserError(f"{name}={shown(value)}, expected at least one")


@dataclasses.dataclass(frozen=True)
class EachOnce:
    """A list in which nothing is named twice; places: not by another path either."""

    places: bool = False
    expected = "each once"

    def __call__(self, name: str, value: Any) -> None:
        seen = []
        for one in value if isinstance(value, tuple) else ():
            seen.append(str(Path(one).resolve()) if self.places else one)
            if seen.count(seen[-1]) > 1:
                raise UserError(f"{name}={shown(value)}, expected each once, {shown(one)} is there twice")


def shown(value: Any) -> str:
    """Return a value as it is typed on a command line."""
    if isinstance(value, tuple | list):
        return f"[{','.join(shown(one) for one in value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


NOT_EMPTY, EACH_ONCE, EACH_PLACE_ONCE = _NotEmpty(), EachOnce(), EachOnce(places=True)
FOLDER, FILE = Place(), Place(file=True, results=True)
DATASET_FOLDER, RESULTS_FOLDER = Place(dataset=True), Place(results=True)
IMAGE_SIDE = multiple_of(16, 16, 4096)  # pixels; what vision parts and videos can take
PROBABILITY = between(0, 1)
SHARE = Each(lambda value: 0.0 <= value < 1.0, "a share, 0 or more and below 1")  # something is left over
PART = Each(lambda value: 0.0 < value <= 1.0, "a part, more than 0 and at most 1")
SEED = Each(lambda value: 0 <= value <= MAX_SEED, f"a seed, 0 to {MAX_SEED}")  # every generator takes it
PORT = Each(lambda value: 0 <= value <= MAX_PORT, f"a port, 0 to {MAX_PORT}; 0: a free one")
