"""The dataset on disk: LeRobotDataset v3.0, written and read without LeRobot; also what LeRobot wrote or edited.

    with DatasetWriter(root, features, fps=20, robot_type="fr3") as writer:
        writer.commit(Episode(columns, "put the red cube on the plate", images, metadata))
    dataset = Dataset(root)
    states = dataset.columns(0)["observation.state"]  # (T, 7)

Everything a module outside needs is named here; the other files of this folder are how it is done.
Labels made later (returns, values, advantages) are sidecars: raw episodes are never rewritten.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sim.core import deprecated
from sim.core.errors import UserError, nearest
from sim.dataset import rows
from sim.dataset.depth_video import decode_depth, encode_depth
from sim.dataset.episode import Episode
from sim.dataset.info import read_info, read_provenance
from sim.dataset.places import Place, find_place, read_frames
from sim.dataset.schema import DEFAULTS, STANDARD_COLUMNS, Column, Features
from sim.dataset.sidecar import read_sidecar, sidecar_provenance, write_sidecar
from sim.dataset.video import Video, decode_video, encode_video
from sim.dataset.writer import DatasetWriter, check_no_other, join_stats, kept_episodes, read_stats

__all__ = [
    "Column",
    "Dataset",
    "DatasetWriter",
    "Episode",
    "Features",
    "Video",
    "check_no_other",
    "encode_depth",
    "encode_video",
    "kept_episodes",
    "last_seed",
    "read_sidecar",
    "sidecar_provenance",
    "write_sidecar",
]


class Dataset:
    """A dataset opened for reading: the episodes committed at this moment.

    Also one that is still being written, or whose writer was killed. Raises UserError for a missing or broken
    directory, another version or file layout.
    """

    def __init__(self, root: Path | str):
        self.root = Path(root)
        self.info = read_info(self.root)
        self.fps: int = self.info["fps"]
        stored = Features.from_json(self.info["features"])
        self._stored_names = deprecated.columns(stored.columns)
        self.features = replace(stored, columns={new: stored.columns[old] for new, old in self._stored_names.items()})
        stored_rows = rows.read_rows(self.root)
        if len(stored_rows) < (total := self.info.get("total_episodes", 0)):
            missing = f"{total - len(stored_rows)} of {total} episodes"
            raise UserError(f"dataset {self.root} is broken: {missing} are missing in meta/episodes; {rows.REMEDY}")
        self._places = [find_place(self.root, self.info, self.features.videos, row) for row in stored_rows]
        for path in dict.fromkeys(path for place in self._places for path in place.files):
            if not path.is_file():
                raise UserError(f"dataset {self.root} is broken: {path} is missing; {rows.REMEDY}")
        self._rows = [{new: row[old] for new, old in deprecated.columns(row).items()} for row in stored_rows]

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
        """Return what the writer recorded about how the data was made, its task by the present name; nothing where
        another program wrote it."""
        made_by = (read_provenance(self.root, self.info) or [{}])[0]
        world = made_by.get("world")
        if not isinstance(world, dict) or not isinstance(world.get("task"), str):
            return made_by
        return {**made_by, "world": {**world, "task": deprecated.current("task", world["task"], deprecated.TASKS)}}

    def length(self, episode: int) -> int:
        """Return T, the frames of an episode."""
        return self._rows[episode]["length"]

    def instruction(self, episode: int) -> str:
        """Return the instruction of an episode; by its first frame where, as after LeRobot's conversion of images to
        videos, the episodes do not tell. UserError where the frames name a task that there is not."""
        if told := self._rows[episode].get("tasks"):
            return told[0]
        number, known = int(self.columns(episode, ["task_index"])["task_index"][0]), rows.read_tasks(self.root)
        if number not in known:
            raise UserError(f"dataset {self.root} is broken: episode {episode} is of task {number}, which has no text")
        return known[number]

    def episode_metadata(self, episode: int) -> dict:
        """Return the metadata stored with an episode, exactly; only those it has."""
        row = self._rows[episode]
        return {k: v for k, v in row.items() if rows.is_metadata(k) and v is not None}

    def was_cut_off(self, episode: int) -> bool:
        """Return whether a fault of the robot or a stop ended an episode that nobody judged: it tells no outcome."""
        row = self._rows[episode]
        return bool(row.get("robot/fault")) and not row.get("operator/verdict")

    def outcome(self, episode: int) -> bool | None:
        """Return whether an episode succeeded, None for one that was cut off."""
        return None if self.was_cut_off(episode) else bool(self._rows[episode]["success"])

    def metadata_table(self) -> dict[str, list]:
        """Return name -> values, one an episode; None where an episode does not have it."""
        keys = dict.fromkeys(key for row in self._rows for key in row if rows.is_metadata(key))
        return {key: [row.get(key) for row in self._rows] for key in keys}

    def columns(self, episode: int, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        """Read columns of an episode, (T,) for scalars and (T, n) for vectors.

        names: all of the schema when None; timestamp, frame_index, episode_index, index and
        task_index can be asked for too. A column of `DEFAULTS` that the dataset lacks has its default everywhere.
        Raises UserError for an unknown name or a broken file.
        """
        known = {**self.features.columns, **STANDARD_COLUMNS}
        names = list(self.features.columns if names is None else names)
        for name in names:
            if name not in known and name not in DEFAULTS:
                raise UserError(f"dataset {self.root}: {nearest(name, known, 'column')}")
        stored = {name: self._stored_names.get(name, name) for name in names if name in known}
        path = self.place(episode).data
        table = read_frames(path, self._rows[episode], list(stored.values()))
        try:
            read = {name: rows.fitted(rows.to_numpy(table[column]), known[name]) for name, column in stored.items()}
        except (ValueError, TypeError) as error:
            raise UserError(f"cannot read {path}: it differs from the schema in meta/info.json: {error}") from error
        length = self.length(episode)
        return {name: read[name] if name in read else np.full((length, *DEFAULTS[name].shape), DEFAULTS[name])
                for name in names}  # fmt: skip

    def images(self, episode: int, camera: str, frames: Sequence[int] | None = None) -> np.ndarray:
        """Decode uint8 RGB (T, H, W, 3): all frames of an episode, or only those with these indices.

        Raises UserError for an unknown camera or a broken file, IndexError for a frame too far.
        """
        if camera not in self.features.cameras:
            raise UserError(nearest(camera, self.features.cameras, "camera"))
        return self._decoded(episode, camera, frames, decode_video)

    def depth(self, episode: int, camera: str, frames: Sequence[int] | None = None) -> np.ndarray:
        """Decode depth uint16 (T, H, W), mm, 0 where there is none, as `images`. UserError without any."""
        if camera not in self.features.depth:
            raise UserError(f"dataset {self.root} holds no depth of camera {camera}; record with render.depth=true")
        return self._decoded(episode, self.features.depth_videos[camera], frames, decode_depth)

    def _decoded(self, episode: int, video: str, frames: Sequence[int] | None, decode: Callable) -> np.ndarray:
        place = self.place(episode)
        path = place.videos[video]
        pixels = decode(path, frames, place.spans[video])
        if frames is None and len(pixels) != self.length(episode):
            raise UserError(f"{path} has {len(pixels)} frames, expected {self.length(episode)}")
        return pixels

    def stats(self) -> dict[str, dict[str, np.ndarray]]:
        """Return feature -> min, max, mean, std, count, q01 .. q99 over all episodes.

        From stats.json where it counts exactly these frames, else joined from the episodes: after
        a kill it is older or missing, and another program's may have another form. Raises UserError when there are no
        episodes.
        """
        if not self._rows:
            raise UserError(f"dataset {self.root} has no episodes")
        written = read_stats(self.root)
        counted = written.get("index", {}).get("count", np.array([]))
        return written if counted.tolist() == [self.num_frames] else join_stats(self.root)

    def fingerprint(self) -> str:
        """Return a hash of the schema and of every committed episode's content, for provenance."""
        parts = [self.info["features"], [self._content(episode) for episode in range(self.num_episodes)]]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _content(self, episode: int) -> str:
        """Return the hash that this project's writer stored, or one of what another program's episode holds."""
        if written := self._rows[episode].get("content_sha256"):
            return written
        found = hashlib.sha256(self.instruction(episode).encode())
        for name, values in self.columns(episode).items():
            found.update(name.encode() + np.ascontiguousarray(values).tobytes())
        place = self.place(episode)
        for camera, path in place.videos.items():
            found.update(f"{camera} {path.stat().st_size} {place.spans[camera].first}".encode())
        return found.hexdigest()

    def place(self, episode: int) -> Place:
        """Return the files of an episode. IndexError for one that is not there."""
        if not 0 <= episode < self.num_episodes:
            raise IndexError(f"episode {episode} of a dataset with {self.num_episodes}")
        return self._places[int(episode)]


def last_seed(root: Path) -> int | None:
    """Return the seed of the last committed episode; None where there is no episode yet."""
    dataset = Dataset(root)
    return int(dataset.episode_metadata(dataset.num_episodes - 1)["seed"]) if dataset.num_episodes else None
