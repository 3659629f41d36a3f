"""Pinned weight files and the per-user cache: a file with a pin is not loaded before its sha256 was compared.

Such a file that differs is refused, never used with a warning: a policy trained on the
features of these weights would get features of others, and nothing downstream could notice.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sim.core.errors import UserError


class WeightsError(UserError):
    """Pretrained weights are missing or are not the pinned ones."""


def sha256_of(path: Path) -> str:
    """Return the hexadecimal sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checked_file(path: Path, sha256: str, how_to_get: str) -> Path:
    """Return `path`, once its bytes are known to be the pinned ones.

    Raises WeightsError with the file, the expected and the found hash, and `how_to_get` it.
    """
    if not path.is_file():
        raise WeightsError(f"weights file {path} does not exist; {how_to_get}")
    found = sha256_of(path)
    if found != sha256:
        raise WeightsError(f"weights file {path} has sha256 {found}, expected {sha256}; {how_to_get}")
    return path


def cache_dir() -> Path:
    """Return the per-user folder of files that can be made again: fr3_vla in $XDG_CACHE_HOME or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if base else Path.home() / ".cache"
    folder = root / "fr3_vla"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Yield a temporary path that becomes `target` when the block succeeds, and is removed when it fails.

    Two processes may do so at once: each writes its own file and the last rename wins.
    """
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    os.close(handle)
    part = Path(name)
    try:
        yield part
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
