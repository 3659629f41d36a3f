"""index.json of a feature cache: what the directory holds, and how much of it is still good."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from sim.dataset.files import write_atomic

INDEX = "index.json"
FORMAT = 1


@dataclass
class Index:
    """What a cache directory holds."""

    cameras: list[str]
    shape8: list[int]  # C8, h, w
    shape16: list[int]  # C16, h / 2, w / 2
    episodes: list[list[int]]  # per episode: frames, then the bytes of each camera's video
    done: list[int]  # episodes whose rows are on the disk
    format: int = FORMAT

    @property
    def width(self) -> int:
        """Values in the row of one frame: both maps, one after the other."""
        return int(np.prod(self.shape8) + np.prod(self.shape16))

    @property
    def first_rows(self) -> np.ndarray:
        """Row of each episode's first frame, and at the end the number of all rows."""
        return np.cumsum([0, *(episode[0] for episode in self.episodes)])

    @property
    def missing(self) -> list[int]:
        """Episodes that are still to be computed."""
        return sorted(set(range(len(self.episodes))) - set(self.done))


def inherited(index: Index, old: Index | None) -> list[int]:
    """Episodes done by an older index of the same directory, up to its first difference.

    After a difference in length the rows stand elsewhere, so everything later is computed anew.
    """
    layout = (index.cameras, index.shape8, index.shape16)
    if old is None or (old.cameras, old.shape8, old.shape16) != layout:
        return []
    same = 0
    for new, before in zip(index.episodes, old.episodes, strict=False):
        if new != before:
            break
        same += 1
    return [episode for episode in old.done if episode < same]


def read_index(folder: Path) -> Index | None:
    """The index of a cache directory; None where there is none or it is of another format."""
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
