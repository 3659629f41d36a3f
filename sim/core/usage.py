"""What a program used: memory of its process, and room on the disk."""

import resource
from pathlib import Path

KIB = 2**10


def peak_memory_mib() -> float:
    """Return the most memory that this process has held at once, MiB (ru_maxrss of getrusage(2), which is in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB


def size_mib(root: Path) -> float:
    """Return how much the files of a folder hold, MiB; 0 where there is none."""
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) / KIB**2
