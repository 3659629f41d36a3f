"""The description of one method of the emulated controller: its arguments on this release, its function, its answer."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from real.fairino.fault_codes import Code


@dataclass(frozen=True)
class Method:
    """arguments: how many the release takes. values: how many a query answers after its code; None: an action, which
    answers its code alone."""

    arguments: int
    call: Callable
    values: int | None = None

    def __call__(self, *arguments: object) -> object:
        """Return the answer as it goes on the wire; Code.WRONG_VALUE for arguments of a wrong type or length."""
        try:
            answer = self.call(*arguments)
        except (TypeError, ValueError, LookupError, ArithmeticError):
            answer = Code.WRONG_VALUE
        if self.values is None:
            return int(answer)
        if isinstance(answer, int):
            return [int(answer), *[0] * self.values]
        return [int(Code.OK), *answer]


Table = dict[str, Method]


def holding(lock: AbstractContextManager, table: Table) -> Table:
    """Return the methods of `table`, each called while `lock` is held: what it reads and writes is of one instant."""
    return {name: replace(method, call=_holding(lock, method.call)) for name, method in table.items()}


def _holding(lock: AbstractContextManager, call: Callable) -> Callable:
    def locked(*arguments: object) -> object:
        with lock:
            return call(*arguments)

    return locked
