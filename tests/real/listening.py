"""Reacting to what a program logs, as a person at the terminal does."""

import contextlib
import logging
import threading
import types
from collections.abc import Callable, Iterator

import numpy as np

from sim.teleop.device import Command
from sim.teleop.operator import Operator


class Answering(Operator):
    """A person whose keys are there and who presses `answer` once the program waits for a key, however late."""

    answer: Command | None = None

    def __init__(self) -> None:
        super().__init__([])
        self.devices = [
            types.SimpleNamespace(lost=threading.Event(), confirms=True, push=lambda: np.zeros(6), close=lambda: None)
        ]

    def forget(self) -> None:
        super().forget()
        answer, self.answer = self.answer, None
        if answer is not None:
            self.press(answer)


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
