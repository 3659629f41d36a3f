"""Writing a dataset, an episode at a time: each is there whole or not at all.

An episode's row in meta/episodes is written last and is its commit mark. Whatever a killed run
left without one is removed when the dataset is opened for writing again.
"""

import contextlib
import json
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa

from sim.core.errors import NOTHING_NEW, UserError
from sim.core.files import LOCK, TEMPORARY, Lock, remove_temporary, write_atomic
from sim.dataset import rows
from sim.dataset.episode import Episode, check_columns, check_metadata, check_videos, digest
from sim.dataset.info import (
    check_agrees,
    continued,
    make_info,
    read_info,
    read_provenance,
    write_info,
    write_provenance,
)
from sim.dataset.schema import (
    CHUNK_SIZE,
    DATA_PATH,
    IMAGE_PREFIX,
    INFO_PATH,
    PROVENANCE_PATH,
    STATS_PATH,
    Features,
    data_path,
    file_indices,
    meta_path,
    video_path,
)
from sim.dataset.stats import STATISTICS, aggregate, column_stats
from sim.dataset.video import Video


class DatasetWriter:
    """Creates a dataset directory, or resumes the one that is there.

    fps: frames a second, a whole number. provenance: what the data was made with and from, as
    JSON values; a resumed dataset keeps its own and lists a different new one under "resumed".
    Raises UserError when the directory holds something else, another schema, version or fps, episodes
    of another "world" or "quality" or that share files, is being written by another process, or the disk is full.
    """

    def __init__(
        self,
        root: Path | str,
        features: Features,
        fps: int,
        robot_type: str,
        provenance: dict | None = None,
    ):
        self.root, self.features, self.fps = Path(root), features, int(fps)
        self._info, self._provenance = make_info(features, fps, robot_type), [provenance or {}]
        self._is_new, self._episodes = not (self.root / INFO_PATH).exists(), 0
        check_no_other(self.root)
        if not self._is_new:
            self._resume(provenance or {})
        self._lock = Lock(self.root)
        try:
            self._load_committed()
            self._remove_uncommitted()
            write_provenance(self.root, self._provenance)  # first: an older dataset has it in the info
            self._save_info()
        except BaseException:
            self._leave()
            raise

    def _resume(self, provenance: dict) -> None:
        found = read_info(self.root)
        check_agrees(self.root, found, self._info)
        check_one_file_each(self.root, found)
        self._provenance = continued(self.root, read_provenance(self.root, found), provenance)
        self._info = found

    def _load_committed(self) -> None:
        self._episodes = rows.count_episodes(self.root)
        self._frames = 0
        named: list[str] = []
        self._metadata_types: dict[str, pa.DataType] = {}
        for episode in range(self._episodes):
            table = rows.read_row(self.root, episode)
            self._frames += table["length"][0].as_py()
            named = _with(named, table["tasks"][0].as_py()[0])
            for kind in table.schema:
                if rows.is_metadata(kind.name):
                    self._metadata_types.setdefault(kind.name, kind.type)
        self._tasks = rows.resumed_tasks(self.root, named)

    def _remove_uncommitted(self) -> None:
        remove_temporary(self.root)
        keep = {path for index in range(self._episodes) for path in self._files(index)}
        for pattern in ("data/*/*.parquet", "videos/*/*/*.mp4"):
            for path in self.root.glob(pattern):
                if path not in keep:
                    path.unlink()
        if self._tasks:
            rows.write_tasks(self.root, self._tasks)

    def _files(self, index: int) -> list[Path]:
        videos = [video_path(self.root, name, index) for name in self.features.videos]
        return [data_path(self.root, index), *videos]

    @property
    def num_episodes(self) -> int:
        """Return how many episodes are committed; the next one gets this index."""
        return self._episodes

    def commit(self, episode: Episode) -> int:
        """Add an episode and return its index; when this returns, a crash cannot lose it.

        Raises ValueError for columns, images or metadata that do not fit, UserError when the disk is
        full or the dataset was moved or removed. Either way it stays at the last committed episode, which is this one
        where its row was already there when an interrupt or an error came: `num_episodes` says so.
        """
        if not self._lock.is_there:
            raise UserError(f"{self.root} was moved or removed while it was written to; run again with a new out=DIR")
        index = self._episodes
        metadata, metadata_types = check_metadata(episode.metadata, self._metadata_types)
        columns, length = check_columns(episode.columns, self.features)
        videos = check_videos(episode.images, self.features, self.fps, length)
        tasks = _with(self._tasks, episode.instruction)
        metadata["content_sha256"] = digest(columns, videos, episode.instruction, metadata)
        columns |= rows.standard_columns(length, self.fps, index, self._frames, tasks.index(episode.instruction))
        try:
            self._write_frames(index, columns, videos)
            self._prepare_commit(tasks, metadata_types)
            self._write_row(index, episode.instruction, columns, videos, metadata, metadata_types)
        finally:
            if meta_path(self.root, index).exists():  # committed, whatever came after its name was there
                self._episodes, self._frames, self._tasks = index + 1, self._frames + length, tasks
                self._metadata_types |= metadata_types
            else:
                for path in self._files(index):
                    path.unlink(missing_ok=True)
        self._save_info()
        return index

    def _write_frames(self, index: int, columns: dict, videos: dict[str, Video]) -> None:
        for camera, video in videos.items():
            write_atomic(video_path(self.root, camera, index), video.data)
        table = rows.frames_table(columns, self.features)
        write_atomic(data_path(self.root, index), rows.parquet_bytes(table))

    def _prepare_commit(self, tasks: list[str], metadata_types: dict[str, pa.DataType]) -> None:
        """Write what must exist before a row that refers to it; harmless without that row."""
        if tasks != self._tasks:
            rows.write_tasks(self.root, tasks)
        if self._episodes and not metadata_types.keys() <= self._metadata_types.keys():
            rows.add_metadata_columns(self.root, metadata_types)

    def _write_row(self, index, instruction, columns, videos, metadata, metadata_types) -> None:
        length = len(columns["index"])
        row = rows.episode_row(index, instruction, length, self._frames, self.fps, self.features.videos)
        stats = {IMAGE_PREFIX + camera: video.stats for camera, video in videos.items()}
        stats |= {key: column_stats(values) for key, values in columns.items()}
        table = rows.row_table(row | metadata, self._metadata_types | metadata_types, stats)
        write_atomic(meta_path(self.root, index), rows.row_bytes(table))

    def _save_info(self) -> None:
        write_info(self.root, self._info, self._episodes, self._frames, len(self._tasks))

    def close(self) -> None:
        """Write the joined statistics and let go of the dataset. The episodes are safe before."""
        if self._lock.closed:
            return
        try:
            if self._episodes and self._lock.is_there:
                write_stats(self.root, join_stats(self.root))
            if self._lock.is_there:
                self._save_info()
        finally:
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind, error, trace) -> None:
        try:
            self.close()
        except UserError:
            if error is None:  # else the error that ended the run is the one to see
                raise
        if error is not None:
            self._leave()

    def _leave(self) -> None:
        """Let go of the dataset after an error; one that was begun here is removed if it has no episodes."""
        self._lock.close()
        if self._is_new and not self._episodes:
            remove_empty(self.root)


def _with(tasks: list[str], task: str) -> list[str]:
    return tasks if task in tasks else [*tasks, task]


def remove_empty(root: Path) -> None:
    """Remove a dataset without episodes: its two files, and every folder that is empty then."""
    for name in (INFO_PATH, PROVENANCE_PATH):
        (root / name).unlink(missing_ok=True)
    for folder in sorted((path for path in root.rglob("*") if path.is_dir()), reverse=True):
        with contextlib.suppress(OSError):  # something else lies there
            folder.rmdir()
    with contextlib.suppress(OSError):
        root.rmdir()


def kept_episodes(root: Path) -> str:
    """Return what an interrupted recording leaves behind."""
    count = rows.count_episodes(root)
    return f"{count} episodes are kept in {root}; run again to go on" if count else NOTHING_NEW


def check_no_other(root: Path) -> None:
    """Raise UserError where anything else than a dataset lies, or the beginning of one."""
    if root.exists() and not root.is_dir():
        raise UserError(f"{root} is a file, expected a dataset directory")
    if root.exists() and not (root / INFO_PATH).exists() and not is_untouched(root):
        raise UserError(f"{root} is not empty and holds no dataset; name a new directory")


def is_untouched(root: Path) -> bool:
    """Return whether a directory holds nothing but what a writer killed at its very start leaves."""
    names = {path.name for path in root.rglob("*") if path.is_file()} - {LOCK, Path(PROVENANCE_PATH).name}
    return all(name.endswith(TEMPORARY) for name in names)


def check_one_file_each(root: Path, info: dict) -> None:
    """Raise UserError unless every episode has files of its own, as this project's datasets have: others share them."""
    features = info["features"]
    keys = ["data", "meta/episodes", *(f"videos/{key}" for key in features if features[key]["dtype"] == "video")]
    same_paths = (info["data_path"], info["chunks_size"]) == (DATA_PATH, CHUNK_SIZE)
    for row in rows.read_rows(root):
        wanted = file_indices(row["episode_index"])
        if not same_paths or any(row.get(f"{key}/{name}") != wanted[name] for key in keys for name in wanted):
            raise UserError(
                f"dataset {root} was written or edited by another program, whose episodes share files; "
                "name a new out=DIR, and merge both with lerobot-edit-dataset"
            )


def join_stats(root: Path) -> dict[str, dict[str, np.ndarray]]:
    """Return the statistics of all episodes of a dataset together: of the features that every episode has them of."""
    parts = rows.read_stats(root)
    shared = [name for name in parts[0] if all(set(STATISTICS) <= part.get(name, {}).keys() for part in parts)]
    return {feature: aggregate([part[feature] for part in parts]) for feature in shared}


def write_stats(root: Path, stats: dict[str, dict[str, np.ndarray]]) -> None:
    """Write stats.json."""
    lists = {feature: {name: value.tolist() for name, value in values.items()} for feature, values in stats.items()}
    write_atomic(root / STATS_PATH, json.dumps(lists, indent=1).encode())


def read_stats(root: Path) -> dict[str, dict[str, np.ndarray]]:
    """Return what stats.json holds; nothing when there is none that can be read, or it has another form."""
    try:
        lists = json.loads((root / STATS_PATH).read_text())
        return {feature: {name: np.array(value) for name, value in values.items()} for feature, values in lists.items()}
    except (OSError, ValueError, AttributeError):
        return {}
