"""What programs print: log records, for people by rich, for machines as JSON, one event a line.

Every module logs; `set_up`, called once by `run_program`, decides where it appears. Results are records of level
INFO and go to standard output, warnings and errors to standard error, as do progress bars. A terminal that is gone
must not end a program halfway: what is written to it is dropped.
"""

import contextlib
import json
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import IO, Any, TypeVar, cast

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")
OURS = ("sim", "policies", "rl", "real", "__main__")
PIPE_WIDTH = 120  # columns of a table where no terminal says how many
STYLES = {logging.WARNING: "yellow", logging.ERROR: "bold red"}
T = TypeVar("T")


def set_up(level: str = "info", form: str = "text", plugins: Sequence[str] = ()) -> None:
    """Send the records of this project, and of the plug-ins' packages, to the terminal. Replaces an earlier call."""
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one, TerminalHandler)]:
        root.removeHandler(handler)
    root.addHandler(TerminalHandler(form))
    for name in (*OURS, *(plugin.partition(".")[0] for plugin in plugins)):
        logging.getLogger(name).setLevel(level.upper())
    _progress_shown[:] = [form == "text"]


def event(name: str, **values: Any) -> dict[str, Any]:
    """Return the `extra` of a log call: what a machine reads of it beside the message."""
    return {"event": {"event": name, **values}}


def table(name: str, content: RenderableType, **values: Any) -> dict[str, Any]:
    """Return the `extra` of a log call whose message people see as `content`, a table of rich's."""
    return {"content": content, **event(name, **values)}


class TerminalHandler(logging.Handler):
    """Writes records to the standard streams."""

    def __init__(self, form: str):
        super().__init__()
        self._form = form

    def emit(self, record: logging.LogRecord) -> None:
        stream = "stderr" if record.levelno >= logging.WARNING else "stdout"
        if self._form == "json":
            out = _Stream(stream)
            out.write(_as_json(record) + "\n")
            out.flush()  # a machine reads a line when it is written, not when the program ends
        else:
            _print(console(stream), record)


def console(stream: str = "stdout", *, beneath: bool = False) -> Console:
    """Return rich's console on a standard stream, as it is now: tests and progress bars replace it.

    beneath: what a progress bar replaced it by, which prints above the bar, is passed by.
    """
    out = cast(IO[str], _Stream(stream, beneath=beneath))
    return Console(file=out, width=None if out.isatty() else PIPE_WIDTH, highlight=False, markup=False, emoji=False)


def _print(to: Console, record: logging.LogRecord) -> None:
    content = getattr(record, "content", None)
    if content is not None:
        to.print(content)
        return
    prefix = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
    to.print(f"{prefix}{_text(record)}", style=STYLES.get(record.levelno), soft_wrap=True)


def _text(record: logging.LogRecord) -> str:
    """Return the message, with the traceback where one is logged."""
    formatter = logging.Formatter()
    return "\n".join([record.getMessage(), *([formatter.formatException(record.exc_info)] if record.exc_info else [])])


def _as_json(record: logging.LogRecord) -> str:
    head = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": _text(record),
    }
    return json.dumps({**head, **getattr(record, "event", {})}, default=_plain)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)  # numpy's numbers and arrays


class _Stream:
    """A standard stream, looked up anew at every write; one that is closed or gone swallows what it gets."""

    def __init__(self, name: str, *, beneath: bool = False):
        self._name, self._beneath = name, beneath

    @property
    def encoding(self) -> str:
        return getattr(self._now(), "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            return bool(self._now().isatty())
        return False

    def fileno(self) -> int:
        return self._now().fileno()

    def write(self, text: str) -> int:
        self._try(lambda stream: stream.write(shown_in(text, self.encoding)))
        return len(text)

    def flush(self) -> None:
        self._try(lambda stream: stream.flush())

    def _now(self) -> Any:
        stream = getattr(sys, self._name)
        return getattr(stream, "rich_proxied_file", stream) if self._beneath else stream

    def _try(self, call: Any) -> None:
        stream = self._now()
        if stream is None:  # Python was started without any
            return
        try:
            call(stream)
        except (OSError, ValueError):  # ValueError: closed here
            _silence(stream)


def shown_in(text: str, encoding: str) -> str:
    """Return a text with escapes for what an encoding has no letters for."""
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _silence(stream: Any) -> None:
    """Send what waits in the stream's buffer nowhere: Python would fail on it at its own end, with exit code 120."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


# ---- progress ----------------------------------------------------------------------------------

_progress_shown = [True]


def progress() -> Progress:
    """Return a progress bar on standard error; it shows itself on a terminal alone."""
    to = console("stderr", beneath=True)  # else the bar would be printed above itself, without end
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    shown = to.is_terminal and _progress_shown[0]
    return Progress(*columns, console=to, disable=not shown, redirect_stdout=_Stream("stdout").isatty())


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield the items while a progress bar counts them."""
    with progress() as bar:
        yield from bar.track(items, total=total, description=description)
