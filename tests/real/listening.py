"""Reacting to what a program logs, as a person at the terminal does."""

import contextlib
import logging
from collections.abc import Callable, Iterator


class _Listener(logging.Handler):
    def __init__(self, react: Callable[[str], None]):
        super().__init__()
        self._react = react

    def emit(self, record: logging.LogRecord) -> None:
        self._react(record.getMessage())


@contextlib.contextmanager
def reacting(react: Callable[[str], None]) -> Iterator[None]:
    """Call `react(message)` at every record of `real` during the block."""
    listener = _Listener(react)
    logging.getLogger("real").addHandler(listener)
    try:
        yield
    finally:
        logging.getLogger("real").removeHandler(listener)
