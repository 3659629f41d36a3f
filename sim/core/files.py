"""How files reach a directory: whole or not at all, and by one process at a time."""

import contextlib
import errno
import fcntl
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Self, TextIO

from sim.core.errors import UserError

_log = logging.getLogger(__name__)

TEMPORARY = ".tmp"  # never ".parquet" or ".mp4": readers find files by their ending
LOCK = "writer.lock"
HELD = (errno.EACCES, errno.EAGAIN)  # by another process


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, even if the machine loses power.

    Raises UserError when the disk is full or the place not writable; the old file, if any, is
    then untouched.
    """
    write_together({path: data})


def write_together(files: Mapping[Path, bytes]) -> None:
    """Write files that make sense together alone, as weights and what describes them: as `write_atomic`, and where
    one of them cannot be written all old ones are untouched. They appear in the order given."""
    temporary = {path: path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}") for path in files}
    path = next(iter(files))
    folders = {path.parent for path in files}  # and those that new ones are made in
    folders |= {one.parent for path in files for one in path.parents if not one.exists()}
    try:
        for path, data in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary[path], "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for path in files:
            os.replace(temporary[path], path)
        for folder in folders:
            _sync_folder(folder)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            message = f"disk full while writing {path} ({len(files[path])} bytes); free space and resume"
            raise UserError(message) from error
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:  # an interrupt may come in between
        for one in temporary.values():
            with contextlib.suppress(OSError):  # under a file nothing is there to remove
                one.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Let the names in it outlast a loss of power, as its files' contents do."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that has no such thing, as some on a network
            raise
    finally:
        os.close(fd)


class Lock:
    """A directory held for writing until it is closed or the process ends; no file of it stays after that, nor a
    folder that it made and nothing was written into.

    A record lock: unlike flock, workers forked from the writer do not keep it alive.
    Raises UserError when another process writes here.
    """

    def __init__(self, root: Path, folder: str = "meta"):
        """folder: where in `root` the file lies."""
        self._path = root / folder / LOCK
        self._new = [one for one in self._path.parents if not one.exists()]  # innermost first
        while True:
            self._file = self._hold(root)
            try:  # of a file that was removed meanwhile the lock is worth nothing
                if os.path.samestat(os.fstat(self._file.fileno()), self._path.stat()):
                    return
            except FileNotFoundError:
                pass
            self._file.close()

    def _hold(self, root: Path) -> TextIO:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            for folder in self._new:
                _sync_folder(folder.parent)
            file = self._path.open("a")
        except OSError as error:
            raise UserError(f"cannot write {self._path}: {error.strerror or error}") from error
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in HELD:  # NFS without its lock daemon: every file is still written whole or not at all
                _log.warning("%s has no file locks (%s): let one process at a time write there", root, error.strerror)
                return file
            file.close()
            raise UserError(f"another process is writing to {root}; wait for it to end") from error
        return file

    @property
    def closed(self) -> bool:
        """Return whether it is let go of."""
        return self._file.closed

    @property
    def is_there(self) -> bool:
        """Return whether the directory still lies where it was, neither moved nor removed."""
        return self._path.exists()

    def close(self) -> None:
        """Let go of it."""
        if not self.closed:
            self._path.unlink(missing_ok=True)
            self._file.close()
            with contextlib.suppress(OSError):  # something lies there
                for folder in self._new:
                    folder.rmdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self.close()


def remove_temporary(root: Path) -> None:
    """Remove what writers that were killed left half-written."""
    for path in root.rglob(f".*{TEMPORARY}"):
        path.unlink(missing_ok=True)
