"""The early end of a run: by a signal (also that of a lost session) or the operator's stop key, never during a motion.

The first signal requests it: the arm stops at once, the episode is recorded, then the program ends. A second signal
interrupts at once; then only bringing the arm to rest and closing files are left.
"""

import contextlib
import signal
from collections.abc import Callable, Iterator

from sim.core.errors import UserError

# The last two are Ctrl-\ and Ctrl-Z: neither may leave an arm behind in servo mode.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP)


class ShutdownRequest:
    """`reason`: why the end was requested, "" while it was not."""

    def __init__(self) -> None:
        self.reason = ""
        self._halt: Callable[[str], None] | None = None

    def install(self) -> None:
        """Handle the signals of the main thread's program."""
        for number in SIGNALS:
            if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue  # nohup: the run outlives its session
            signal.signal(number, self._on_signal)

    def request(self, reason: str) -> None:
        """End soon. From any thread; the first reason is kept."""
        if self.reason:
            return
        self.reason = reason
        if self._halt is not None:
            self._halt(reason)

    @contextlib.contextmanager
    def deferred(self, halt: Callable[[str], None]) -> Iterator[None]:
        """Delay the end to the end of the block; a request during the block calls `halt`, which shortens it.

        KeyboardInterrupt before or after the block when the end was requested.
        """
        self._halt = halt
        try:
            self.raise_if_requested()
            yield
        except UserError as error:  # raised by an arm that was halted on its way to the start
            if self.reason:
                raise KeyboardInterrupt(self.reason) from error
            raise
        finally:
            self._halt = None
        self.raise_if_requested()

    def raise_if_requested(self) -> None:
        if self.reason:
            raise KeyboardInterrupt(self.reason)

    def _on_signal(self, number: int, _frame: object) -> None:
        again, deferred = bool(self.reason), self._halt is not None
        self.request(signal.Signals(number).name)
        if again or not deferred:
            for name in SIGNALS:
                signal.signal(name, signal.SIG_IGN)
            raise KeyboardInterrupt
