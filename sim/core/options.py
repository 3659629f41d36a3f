"""Options of programs: dataclass fields that carry a comment and the values they take.

    episodes: int = option(500, "demonstrations to collect", at_least(1))

`sim.core.config` tests them wherever a configuration is composed, and `--help` prints the comments.
"""

import dataclasses
import math
from collections.abc import Callable, Collection
from typing import Any, Protocol, TypeVar

from sim.core.errors import UserError, nearest

COMMENT, CHECK = "comment", "check"  # keys of a field's metadata
MAX_SEED = 2**31 - 1
T = TypeVar("T")


class Check(Protocol):
    """What an option's value must be like."""

    @property
    def expected(self) -> str:
        """In words, for `--help` and errors."""
        ...

    def __call__(self, name: str, value: Any) -> None:
        """Raise UserError, one line with the option's name, the value and what is expected."""


def option(default: T, comment: str = "", check: Check | None = None) -> T:
    """Return a dataclass field with a default, a comment for `--help`, and a check of its values.

    Typed as the default's type, as `dataclasses.field` is. None passes every check: its meaning is the comment's.
    """
    return dataclasses.field(default=default, metadata={COMMENT: comment, CHECK: check})


def check_value(field: dataclasses.Field, name: str, value: Any) -> None:
    """Raise UserError when `value` is not what the field takes; numbers must be finite in any case."""
    _check_finite(name, value)
    check: Check | None = field.metadata.get(CHECK)
    if check is not None and value is not None:
        check(name, value)


def _check_finite(name: str, value: Any) -> None:
    for one in value if isinstance(value, tuple) else (value,):
        if isinstance(one, float) and not math.isfinite(one):
            raise UserError(f"{name}={_shown(value)}, expected a finite number")


# ---- checks ------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Each:
    """A test of the value, of a list every element."""

    accepts: Callable[[Any], bool]
    expected: str

    def __call__(self, name: str, value: Any) -> None:
        for one in value if isinstance(value, tuple) else (value,):
            if not self.accepts(one):
                raise UserError(f"{name}={_shown(value)}, expected {self.expected}")


@dataclasses.dataclass(frozen=True)
class OneOf:
    """A name among `choices`, or names. A registry is read when a value is tested, so that plugins count."""

    choices: Collection[str]

    @property
    def expected(self) -> str:
        return f"one of {', '.join(sorted(self.choices))}"

    def __call__(self, name: str, value: Any) -> None:
        for one in value if isinstance(value, tuple) else (value,):
            if one not in self.choices:
                raise UserError(nearest(str(one), self.choices, name))


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
            raise UserError(f"{name}={_shown(value)}, expected {self.expected}")


def at_least(low: float) -> Check:
    return Each(lambda value: value >= low, f"at least {low:g}")


def above(low: float) -> Check:
    return Each(lambda value: value > low, f"more than {low:g}")


def between(low: float, high: float) -> Check:
    return Each(lambda value: low <= value <= high, f"from {low:g} to {high:g}")


def probability() -> Check:
    return Each(lambda value: 0.0 <= value <= 1.0, "a probability, 0 to 1")


def share() -> Check:
    """A part of a whole that leaves something over: 0 <= value < 1."""
    return Each(lambda value: 0.0 <= value < 1.0, "a share, 0 or more and below 1")


def seed() -> Check:
    """What every generator in the project takes, torch's and stable-baselines3's included."""
    return Each(lambda value: 0 <= value <= MAX_SEED, f"a seed, 0 to {MAX_SEED}")


def port() -> Check:
    return Each(lambda value: 0 <= value <= 65535, "a port, 0 to 65535 (0: a free one)")


def span(low: float, high: float) -> Check:
    return Span(low, high)


def one_of(*choices: str) -> Check:
    return OneOf(choices)


def not_empty() -> Check:
    return _NotEmpty()


class _NotEmpty:
    expected = "at least one"

    def __call__(self, name: str, value: Any) -> None:
        if not value:
            raise UserError(f"{name}={_shown(value)}, expected at least one")


def _shown(value: Any) -> str:
    """A value as it is typed on a command line."""
    if isinstance(value, tuple | list):
        return f"[{','.join(_shown(one) for one in value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
