"""How a run ends before its time: by a signal (also that of a lost session) or the operator's stop key, never in the
middle of a motion.

The first asks: the arm stops at once, the episode is recorded, then the program ends. A second signal
interrupts at once; what is left to do is bringing the arm to rest, and closing files.
"""

import contextlib
import signal
from collections.abc import Callable, Iterator

from sim.core.errors import UserError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ending:
    """`asked` says who asked for the end, "" while nobody has."""

    def __init__(self) -> None:
        self.asked = ""
        self._halt: Callable[[str], None] | None = None

    def install(self) -> None:
        """Take the signals over, for the main thread's program."""
        for number in SIGNALS:
            if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue  # nohup: the session may go, the run stays
            signal.signal(number, self._on_signal)

    def ask(self, why: str) -> None:
        """End soon. From any thread; the first reason stands."""
        if self.asked:
            return
        self.asked = why
        if self._halt is not None:
            self._halt(why)

    @contextlib.contextmanager
    def deferred(self, halt: Callable[[str], None]) -> Iterator[None]:
        """Inside, the end waits until the block is done, and `halt` is called to hurry it.

        KeyboardInterrupt before or after the block when the end was asked for.
        """
        self._halt = halt
        try:
            self.raise_asked()
            yield
        except UserError as error:  # so says an arm that was halted on its way to the start
            if self.asked:
                raise KeyboardInterrupt(self.asked) from error
            raise
        finally:
            self._halt = None
        self.raise_asked()

    def raise_asked(self) -> None:
        if self.asked:
            raise KeyboardInterrupt(self.asked)

    def _on_signal(self, number: int, _frame: object) -> None:
        again, deferred = bool(self.asked), self._halt is not None
        self.ask(signal.Signals(number).name)
        if again or not deferred:
            for name in SIGNALS:
                signal.signal(name, signal.SIG_IGN)
            raise KeyboardInterrupt
