"""The dataset on disk: LeRobotDataset v3.0, written and read without LeRobot.

    with DatasetWriter(root, features, fps=20, robot_type="fr3") as writer:
        writer.commit(Episode(columns, "put the red cube on the plate", images, metadata))
    dataset = Dataset(root)
    states = dataset.columns(0)["observation.state"]  # (T, 7)

Everything a module outside needs is named here; the other files of this folder are how it is done.
Labels made later (returns, values, advantages) are sidecars: raw episodes are never rewritten.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sim.core import deprecated
from sim.core.errors import UserError, nearest
from sim.dataset import rows
from sim.dataset.episode import Episode
from sim.dataset.info import read_info
from sim.dataset.schema import (
    STANDARD_COLUMNS,
    Column,
    Features,
    data_path,
    video_path,
)
from sim.dataset.sidecar import read_sidecar, sidecar_provenance, write_sidecar
from sim.dataset.video import Video, decode_video, encode_episode_videos, encode_video
from sim.dataset.writer import DatasetWriter, join_stats, read_stats

__all__ = [
    "Column",
    "Dataset",
    "DatasetWriter",
    "Episode",
    "Features",
    "Video",
    "encode_episode_videos",
    "encode_video",
    "read_sidecar",
    "sidecar_provenance",
    "write_sidecar",
]


class Dataset:
    """A dataset opened for reading: the episodes committed at this moment.

    Also one that is still being written, or whose writer was killed. features: the schema the
    caller needs, when it needs one. Raises UserError for a missing or broken directory, another
    version, file layout or schema.
    """

    def __init__(self, root: Path | str, features: Features | None = None):
        self.root = Path(root)
        self.info = read_info(self.root)
        self.fps: int = self.info["fps"]
        stored = Features.from_json(self.info["features"])
        self._stored_names = deprecated.columns(stored.columns)
        self.features = replace(stored, columns={new: stored.columns[old] for new, old in self._stored_names.items()})
        differences = features.differences(self.features) if features else []
        if differences:
            found = "; ".join(differences)
            raise UserError(f"dataset {self.root} has another schema (expected, found): {found}")
        self._rows = [self._read_row(i) for i in range(rows.count_episodes(self.root))]

    def _read_row(self, episode: int) -> dict:
        cameras = self.features.cameras
        paths = [video_path(self.root, camera, episode) for camera in cameras]
        for path in [data_path(self.root, episode), *paths]:
            if not path.is_file():
                raise UserError(f"dataset {self.root} is broken: {path} is missing")
        (row,) = rows.read_row(self.root, episode).to_pylist()
        return {new: row[old] for new, old in deprecated.columns(row).items()}

    @property
    def num_episodes(self) -> int:
        """Return how many episodes there are."""
        return len(self._rows)

    @property
    def num_frames(self) -> int:
        """Return how many frames all episodes have together."""
        return sum(row["length"] for row in self._rows)

    @property
    def provenance(self) -> dict:
        """Return what the writer recorded about how the data was made."""
        return self.info.get("provenance", {})

    def length(self, episode: int) -> int:
        """Return T, the frames of an episode."""
        return self._rows[episode]["length"]

    def instruction(self, episode: int) -> str:
        """Return the instruction of an episode."""
        return self._rows[episode]["tasks"][0]

    def episode_metadata(self, episode: int) -> dict:
        """Return the metadata stored with an episode, exactly; only those it has."""
        row = self._rows[episode]
        return {k: v for k, v in row.items() if rows.is_metadata(k) and v is not None}

    def metadata_table(self) -> dict[str, list]:
        """Return name -> values, one an episode; None where an episode does not have it."""
        keys = dict.fromkeys(key for row in self._rows for key in row if rows.is_metadata(key))
        return {key: [row.get(key) for row in self._rows] for key in keys}

    def columns(self, episode: int, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        """Read columns of an episode, (T,) for scalars and (T, n) for vectors.

        names: all of the schema when None; timestamp, frame_index, episode_index, index and
        task_index can be asked for too. Raises UserError for an unknown name or a broken file.
        """
        known = {**self.features.columns, **STANDARD_COLUMNS}
        names = list(self.features.columns if names is None else names)
        for name in names:
            if name not in known:
                raise UserError(nearest(name, known, "column"))
        path = data_path(self.root, self._checked(episode))
        try:
            with pq.ParquetFile(path) as file:
                table = file.read([self._stored_names.get(name, name) for name in names], use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"cannot read {path}: {error}") from error
        if len(table) != self.length(episode):
            raise UserError(f"{path} has {len(table)} frames, expected {self.length(episode)}")
        return {name: rows.to_numpy(table[self._stored_names.get(name, name)]) for name in names}

    def images(self, episode: int, camera: str, frames: Sequence[int] | None = None) -> np.ndarray:
        """Decode uint8 RGB (T, H, W, 3): all frames of an episode, or only those with these indices.

        Raises UserError for an unknown camera or a broken file, IndexError for a frame too far.
        """
        if camera not in self.features.cameras:
            raise UserError(nearest(camera, self.features.cameras, "camera"))
        path = video_path(self.root, camera, self._checked(episode))
        pixels = decode_video(path, frames)
        if frames is None and len(pixels) != self.length(episode):
            raise UserError(f"{path} has {len(pixels)} frames, expected {self.length(episode)}")
        return pixels

    def stats(self) -> dict[str, dict[str, np.ndarray]]:
        """Return feature -> min, max, mean, std, count, q01 .. q99 over all episodes.

        From stats.json where it counts exactly these frames, else joined from the episodes: after
        a kill it is older or missing. Raises UserError when there are no episodes.
        """
        if not self._rows:
            raise UserError(f"dataset {self.root} has no episodes")
        written = read_stats(self.root)
        if written and int(written["index"]["count"][0]) == self.num_frames:
            return written
        return join_stats(self.root, self.num_episodes)

    def fingerprint(self) -> str:
        """Return a hash of the schema and of every committed episode's content, for provenance."""
        parts = [self.info["features"], [row["content_sha256"] for row in self._rows]]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _checked(self, episode: int) -> int:
        if not 0 <= episode < self.num_episodes:
            raise IndexError(f"episode {episode} of a dataset with {self.num_episodes}")
        return int(episode)
