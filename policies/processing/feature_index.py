"""index.json of a feature cache: what the directory holds, and which of it is valid."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from sim.core.files import write_atomic

INDEX = "index.json"
FORMAT = 2


@dataclass
class Index:
    """What a cache directory holds."""

    arrays: dict[str, list]  # name -> shape of one frame's array and its numpy dtype
    episodes: list[list[int]]  # per episode: frames, then the bytes of each camera's video
    done: list[int]  # episodes whose rows are on the disk
    format: int = FORMAT

    @property
    def first_rows(self) -> np.ndarray:
        """(E + 1,) row of each episode's first frame, and at the end the number of all rows."""
        return np.cumsum([0, *(episode[0] for episode in self.episodes)])

    @property
    def missing(self) -> list[int]:
        """Episodes that are not computed yet."""
        return sorted(set(range(len(self.episodes))) - set(self.done))


def inherited(index: Index, old: Index | None) -> list[int]:
    """Return the episodes done by an older index of the same directory, up to its first difference.

    After a difference in length the rows lie elsewhere, so everything later is computed anew.
    """
    if old is None or old.arrays != index.arrays:
        return []
    same = 0
    for new, before in zip(index.episodes, old.episodes, strict=False):
        if new != before:
            break
        same += 1
    return [episode for episode in old.done if episode < same]


def read_index(folder: Path) -> Index | None:
    """Return the index of a cache directory; None where there is none or it is of another format."""
    path = folder / INDEX
    if not path.is_file():
        return None
    try:
        index = Index(**json.loads(path.read_text()))
    except (ValueError, TypeError):
        return None
    return index if index.format == FORMAT else None


def save_index(folder: Path, index: Index) -> None:
    """Write the index, whole or not at all."""
    write_atomic(folder / INDEX, json.dumps(asdict(index)).encode())
