"""Lines for the person at the terminal, who may be gone: a session that was lost must not end a program halfway."""

import contextlib
import os
import sys
from typing import TextIO


def tell(text: str, stream: TextIO | None = None) -> None:
    """Print a line, on standard output where no stream is named; onto a terminal or pipe that is gone, nothing."""
    stream = stream or sys.stdout
    if stream is None:  # Python was started without any
        return
    try:
        print(text, file=stream, flush=True)
    except (OSError, ValueError):  # ValueError: closed here
        _silence(stream)


def _silence(stream: TextIO) -> None:
    """What waits in the stream's buffer goes nowhere: Python would fail on it at its own end, with exit code 120."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
