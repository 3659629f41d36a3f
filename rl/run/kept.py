"""What an interrupted run of offline RL leaves behind, for its last line."""

from collections.abc import Iterable
from pathlib import Path

from policies.models.checkpoint import WEIGHTS
from sim.core.errors import NOTHING_NEW
from sim.dataset.rows import count_episodes
from sim.dataset.schema import INFO_PATH
from sim.episode.results import FILE as RESULTS


def kept(folders: Iterable[Path]) -> str:
    """Return what lies in the folders of a run; one may lie in another."""
    counts = {
        "episodes": sum(count_episodes(path.parents[1]) for path in _found(folders, INFO_PATH)),
        "policies": len(_found(folders, WEIGHTS)),
        "evaluations": len(_found(folders, RESULTS)),
    }
    parts = [f"{count} {what}" for what, count in counts.items() if count]
    return f"{', '.join(parts)} are kept; run again to go on" if parts else NOTHING_NEW


def _found(folders: Iterable[Path], name: str) -> set[Path]:
    return {path.resolve() for folder in folders for path in folder.rglob(name)}
