"""Signals that end a program as Ctrl-C does."""

import signal
import threading


def end_on_signals() -> None:
    """Let the signal of batch systems and containers, and that of a terminal which is closed or a session which is
    lost, end a program as Ctrl-C does, unless it is handled, or ignored (nohup), already. In the main thread alone."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
