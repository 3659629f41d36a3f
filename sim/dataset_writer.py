"""Writing a dataset, an episode at a time: each is there whole or not at all.

An episode's row in meta/episodes is written last and is its commit mark. Whatever a killed run
left without one is removed when the dataset is opened for writing again.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from sim import dataset_rows as rows
from sim.dataset_files import is_untouched, lock, remove_temporary, write_atomic
from sim.dataset_info import check_agrees, make_info, read_info, write_info
from sim.dataset_schema import IMAGE_PREFIX, STATS_PATH, Features, data_path, meta_path, video_path
from sim.dataset_stats import aggregate, column_stats
from sim.errors import UserError
from sim.video import Video, encode_video, read_video


@dataclass
class Episode:
    """What happened in one episode of T frames.

    columns: one array (T,) or (T, n) for every column of the schema.
    instruction: what the operator asked for.
    images: camera -> uint8 (T, H, W, 3) or an encoded `Video`; None when a worker has written
        the videos already with `encode_episode_videos`.
    facts: bool, int, float, str, or a list of them, by name: seed, success, whatever was drawn.
    """

    columns: Mapping[str, np.ndarray]
    instruction: str
    images: Mapping[str, np.ndarray | Video] | None = None
    facts: Mapping[str, object] = field(default_factory=dict)


class DatasetWriter:
    """Creates a dataset directory, or resumes the one that is there.

    fps: frames a second, a whole number. provenance: what the data was made with and from, as
    JSON values; a resumed dataset keeps its own and lists a different new one under "resumed".
    Raises UserError when the directory holds something else, another schema, version or fps, is
    being written by another process, or the disk is full.
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
        self._info = make_info(features, fps, robot_type, provenance or {})
        if self.root.exists() and not self.root.is_dir():
            raise UserError(f"{self.root} is a file, expected a dataset directory")
        exists = (self.root / "meta" / "info.json").exists()
        if not exists and self.root.exists() and not is_untouched(self.root):
            raise UserError(f"{self.root} is not empty and holds no dataset; name a new directory")
        if exists:
            self._info = check_agrees(self.root, read_info(self.root), self._info)
        self._lock = lock(self.root)
        self._load_committed()
        self._save_info()

    def _load_committed(self) -> None:
        remove_temporary(self.root)
        self._episodes = rows.count_episodes(self.root)
        self._frames = 0
        self._tasks: list[str] = []
        self._fact_types: dict[str, pa.DataType] = {}
        for episode in range(self._episodes):
            table = rows.read_row(self.root, episode)
            self._frames += table["length"][0].as_py()
            self._learn_task(table["tasks"][0].as_py()[0])
            for kind in table.schema:
                if rows.is_fact(kind.name):
                    self._fact_types.setdefault(kind.name, kind.type)
        self._remove_uncommitted()
        if self._tasks:
            rows.write_tasks(self.root, self._tasks)

    def _remove_uncommitted(self) -> None:
        keep = {data_path(self.root, i) for i in range(self._episodes)}
        for camera in self.features.cameras:
            keep |= {video_path(self.root, camera, i) for i in range(self._episodes)}
        for folder, pattern in (("data", "*/*.parquet"), ("videos", "*/*/*.mp4")):
            for path in (self.root / folder).glob(pattern):
                if path not in keep:
                    path.unlink()

    def _learn_task(self, task: str) -> bool:
        new = task not in self._tasks
        if new:
            self._tasks.append(task)
        return new

    @property
    def num_episodes(self) -> int:
        """How many episodes are committed; the next one gets this index."""
        return self._episodes

    def commit(self, episode: Episode) -> int:
        """Add an episode and return its index; when this returns, a crash cannot lose it.

        Raises ValueError for columns, images or facts that do not fit, UserError when the disk is
        full. Either way the dataset stays at the last committed episode.
        """
        index = self._episodes
        facts, fact_types = self._check_facts(episode.facts)
        columns, length = self._check_columns(episode.columns)
        videos = self._check_videos(episode.images, index, length)
        try:
            self._write(index, episode.instruction, columns, videos, facts, fact_types)
        except BaseException:
            self._discard(index)
            raise
        self._episodes += 1
        self._frames += length
        self._fact_types |= fact_types
        self._save_info()
        return index

    def _check_facts(self, facts: Mapping[str, object]) -> tuple[dict, dict[str, pa.DataType]]:
        values = {key: rows.plain(value) for key, value in facts.items()}
        values = {key: value for key, value in values.items() if value is not None}
        types = {}
        for key, value in values.items():
            if not rows.is_fact(key):
                raise ValueError(f"fact {key!r} has a name that the format uses itself")
            found = rows.fact_type(key, value)
            known = self._fact_types.get(key, found)
            if known != found and (known, found) != (pa.float64(), pa.int64()):
                raise ValueError(f"fact {key!r} is {found}, but {known} in earlier episodes")
            types[key] = known
        return values, types

    def _check_columns(self, columns: Mapping[str, np.ndarray]) -> tuple[dict, int]:
        expected = self.features.columns
        if set(columns) != set(expected):
            missing, extra = set(expected) - set(columns), set(columns) - set(expected)
            raise ValueError(f"columns missing {sorted(missing)}, not in schema {sorted(extra)}")
        length = len(next(iter(columns.values())))
        if not length:
            raise ValueError("an episode without frames")
        kinds = expected.items()
        return {k: rows.as_column(k, columns[k], kind, length) for k, kind in kinds}, length

    def _check_videos(self, images, index: int, length: int) -> dict[str, Video]:
        if images is None:
            paths = {c: video_path(self.root, c, index) for c in self.features.cameras}
            videos = {camera: read_video(path) for camera, path in paths.items()}
        else:
            videos = {
                camera: frames if isinstance(frames, Video) else encode_video(frames, self.fps)
                for camera, frames in images.items()
            }
        if set(videos) != set(self.features.cameras):
            raise ValueError(f"cameras {sorted(videos)}, expected {sorted(self.features.cameras)}")
        for camera, video in videos.items():
            if (video.frames, video.size) != (length, self.features.image_size):
                raise ValueError(
                    f"camera {camera!r} has {video.frames} frames of {video.size}, expected "
                    f"{length} of {self.features.image_size}"
                )
        return videos

    def _write(self, index, instruction, columns, videos, facts, fact_types) -> None:
        if self._learn_task(instruction):
            rows.write_tasks(self.root, self._tasks)
        task = self._tasks.index(instruction)
        length = len(next(iter(columns.values())))
        content = _digest(columns, videos, instruction, facts)
        standard = rows.standard_columns(length, self.fps, index, self._frames, task)
        columns = columns | standard
        for camera, video in videos.items():
            write_atomic(video_path(self.root, camera, index), video.data)
        table = rows.frames_table(columns, self.features)
        write_atomic(data_path(self.root, index), rows.parquet_bytes(table))
        if index and set(fact_types) - set(self._fact_types):
            rows.add_fact_columns(self.root, fact_types)
        row = rows.episode_row(
            index, instruction, length, self._frames, self.fps, self.features.cameras
        )
        stats = {IMAGE_PREFIX + camera: video.stats for camera, video in videos.items()}
        stats |= {key: column_stats(values) for key, values in columns.items()}
        row |= {"content_sha256": content, **facts}
        write_atomic(
            meta_path(self.root, index),
            rows.parquet_bytes(rows.row_table(row, self._fact_types | fact_types, stats)),
        )

    def _discard(self, index: int) -> None:
        cameras = self.features.cameras
        for path in [
            data_path(self.root, index),
            *(video_path(self.root, c, index) for c in cameras),
        ]:
            path.unlink(missing_ok=True)

    def _save_info(self) -> None:
        write_info(self.root, self._info, self._episodes, self._frames, len(self._tasks))

    def close(self) -> None:
        """Write the joined statistics and let go of the dataset. The episodes are safe before."""
        if self._lock.closed:
            return
        try:
            if self._episodes:
                stats = {
                    k: {n: v.tolist() for n, v in s.items()}
                    for k, s in join_stats(self.root, self._episodes).items()
                }
                write_atomic(self.root / STATS_PATH, json.dumps(stats, indent=1).encode())
            self._save_info()
        finally:
            self._lock.close()

    def __enter__(self) -> "DatasetWriter":
        return self

    def __exit__(self, kind, error, trace) -> None:
        try:
            self.close()
        except UserError:
            if error is None:
                raise


def join_stats(root: Path, episodes: int) -> dict[str, dict[str, np.ndarray]]:
    """The statistics of the first episodes of a dataset together."""
    parts = [rows.read_stats(root, episode) for episode in range(episodes)]
    return {feature: aggregate([part[feature] for part in parts]) for feature in parts[0]}


def _digest(columns, videos, instruction: str, facts: dict) -> str:
    """What an episode holds, as a hash: any change to a value, a pixel or a fact changes it."""
    digest = hashlib.sha256(json.dumps([instruction, facts], sort_keys=True).encode())
    for key in sorted(columns):
        digest.update(key.encode())
        digest.update(np.ascontiguousarray(columns[key]).tobytes())
    for camera in sorted(videos):
        digest.update(camera.encode())
        digest.update(videos[camera].data)
    return digest.hexdigest()
