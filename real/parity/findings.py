"""The result of one parity check, and the form of a check."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from real.parity.recording import Expected, Recording


@dataclass(frozen=True)
class Finding:
    """One quantity that was checked. cause: what is wrong, empty where nothing is; remedy: how to put it right."""

    name: str
    reading: str
    cause: str = ""
    remedy: str = ""


Test = Callable[[Recording, Expected], Iterator[Finding]]
