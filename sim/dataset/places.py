"""Where the frames and images of each episode lie: this project gives an episode its files, LeRobot shares them.

LeRobot packs many episodes into a file, its editing tools pack them anew, and episodes that it appends to a dataset of
ours share theirs. What counts is what an episode's row says: the files' indices, and seconds in each video.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sim.core.errors import UserError
from sim.dataset.rows import REMEDY, opened_parquet
from sim.dataset.schema import IMAGE_PREFIX
from sim.dataset.video import Span

KEY = "episode_index"


@dataclass(frozen=True)
class Place:
    """The files of one episode."""

    data: Path
    videos: Mapping[str, Path]  # of each camera
    spans: Mapping[str, Span]  # which frames of them

    @property
    def files(self) -> list[Path]:
        """Return all of them."""
        return [self.data, *self.videos.values()]


def find_place(root: Path, info: Mapping, cameras: Iterable[str], row: Mapping) -> Place:
    """Return where the episode of a row lies. UserError when the row does not say it, or a file is not there."""
    try:
        data = root / info["data_path"].format(**_indices(row, "data"))
        keys = {camera: video_key(info["features"], camera) for camera in cameras}
        videos = {
            camera: root / info["video_path"].format(video_key=key, **_indices(row, f"videos/{key}"))
            for camera, key in keys.items()
        }
        starts = {camera: float(row[f"videos/{key}/from_timestamp"]) for camera, key in keys.items()}
        length = int(row["length"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(
            f"dataset {root} is broken: the row of episode {row[KEY]} in meta/episodes lacks {error}"
        ) from error
    if length < 1:
        raise UserError(f"dataset {root}: episode {row[KEY]} has {length} frames; leave it out (lerobot-edit-dataset)")
    spans = {camera: Span(info["fps"], round(start * info["fps"]), length) for camera, start in starts.items()}
    return Place(data, videos, spans)


def video_key(features: Mapping, camera: str) -> str:
    """Return the name of a camera's feature: some datasets name it without the usual prefix."""
    return camera if camera in features else IMAGE_PREFIX + camera


def _indices(row: Mapping, what: str) -> dict[str, int]:
    return {name: int(row[f"{what}/{name}"]) for name in ("chunk_index", "file_index")}


def read_frames(path: Path, row: Mapping, names: list[str]) -> pa.Table:
    """Read columns of one episode's frames, alone in its file or among others'.

    Raises UserError when the file is broken, lacks a column or holds another number of frames.
    """
    episode, length = row[KEY], row["length"]
    with opened_parquet(path) as file:
        alone, known = file.metadata.num_rows == length, file.schema_arrow.names
        if missing := [name for name in (*names, *([] if alone else [KEY])) if name not in known]:
            raise UserError(f"{path} has no column {missing[0]!r}, which meta/info.json names; {REMEDY}")
        if alone:
            return file.read(names, use_threads=False)
        table = file.read_row_groups(_groups(file, episode), list({*names, KEY}), use_threads=False)
        table = table.filter(pa.array(table[KEY].to_numpy() == episode))
    if len(table) != length:
        raise UserError(f"{path} has {len(table)} frames of episode {episode}, expected {length}")
    return table


def _groups(file: pq.ParquetFile, episode: int) -> list[int]:
    """Return the row groups that may hold an episode, by their statistics."""
    column = file.schema_arrow.names.index(KEY)
    chosen = []
    for group in range(file.num_row_groups):
        known = file.metadata.row_group(group).column(column).statistics
        if known is None or not known.has_min_max or known.min <= episode <= known.max:
            chosen.append(group)
    return chosen
