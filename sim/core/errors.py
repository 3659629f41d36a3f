"""What a user can put right: command lines print it in one line and exit with 2."""

import contextlib
import difflib
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import NoReturn

KEPT = "kept"  # attribute of a KeyboardInterrupt: what `keeps` noted
NOTHING_NEW = "nothing new is kept"
LFS_POINTER = b"version https://git-lfs.github.com/spec/"


class UserError(Exception):
    """Something the user asked for, or a file given, is wrong; the message says what to try."""


@contextlib.contextmanager
def keeps(what: Callable[[], str]) -> Iterator[None]:
    """Note on a KeyboardInterrupt what is kept of the work inside, for the program's last line."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        setattr(interrupt, KEPT, what())
        raise


def nearest(name: str, choices: Iterable[str], what: str = "name") -> str:
    """Return a message for a name that is not among the choices.

    >>> nearest("rde", ["red", "blue"], "colour")
    "unknown colour 'rde', expected one of 'blue', 'red'; did you mean 'red'?"
    """
    names = sorted(str(choice) for choice in choices)
    expected = ", ".join(map(repr, names)) or "(none)"
    return f"unknown {what} {name!r}, expected one of {expected}{did_you_mean(str(name), names)}"


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return "; did you mean 'red'?", the end of a message, "" where no choice is near."""
    close = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def reason(error: BaseException) -> str:
    """Return the first line of what a library says of an error, or the error's name."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def why_unread(path: Path | str, error: BaseException) -> str:
    """Return why a file could not be read: as `reason`, unless it is what a copy without Git LFS has in its place."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            return "it is a pointer of Git LFS, the file itself was not fetched; run `git lfs pull` where it is from"
    return reason(error)


def leave_without_environment(missing: str | None) -> NoReturn:
    """End the program, exit code 2: this Python lacks the module, the project was not set up for it."""
    sys.stderr.write(f"error: {sys.executable} has no {missing}; run `make setup`, then `. .venv/bin/activate`\n")
    sys.exit(2)


def interrupts_in_one_line() -> None:
    """Let Ctrl-C while a program's modules are still imported be one line; `run_program` handles it from then on."""

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.stderr.write(f"warning: interrupted; {NOTHING_NEW}\n")
        else:
            sys.__excepthook__(kind, error, trace)

    sys.excepthook = hook


def found_beside(root: Path, marker: str) -> str:
    """Return the end of a message for a directory that lacks the file `marker`: those near it that have one, or
    nothing."""
    parent = root if root.is_dir() else root.parent
    found = sorted(str(folder) for folder in parent.glob("*") if (folder / marker).is_file())[:4]
    return f"; found {', '.join(found)}" if found else ""
