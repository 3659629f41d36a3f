"""What a dataset holds, and where: LeRobotDataset v3.0 features and file names.

What this project writes has one data file, one mp4 a camera and one meta/episodes file per episode. The format
allows many episodes in a file; one makes an episode a unit that is there or not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from sim.core import deprecated
from sim.core.contract import GROUNDING_COLUMNS, TOUCH_COLUMN, TOUCH_NAMES, TURN_COLUMNS, TURN_NAMES

CODEBASE_VERSION = "v3.0"
CHUNK_SIZE = 1000  # files in a directory
IMAGE_PREFIX = "observation.images."
DEPTH_SUFFIX = "_depth"  # of a camera's depth video
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
META_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
INFO_PATH = "meta/info.json"
STATS_PATH = "meta/stats.json"
TASKS_PATH = "meta/tasks.parquet"
PROVENANCE_PATH = "meta/provenance.json"  # of this project alone
EXPORTED_FROM = "exported_from"  # of the provenance of what `sim.export` wrote: the fingerprint of what it read
# Of a depth video: 12 bits in a lossless codec, each level a millimetre, in the words by which LeRobot reads them.
DEPTH_LEVELS = {"video.pix_fmt": "gray12le", "video.depth_min": 0.0, "video.depth_max": 4.095, "video.use_log": False}
DTYPES = ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")


@dataclass(frozen=True)
class Column:
    """One numeric value, or a vector of them, for every frame. shape is (n,); (1,) is a scalar."""

    dtype: str
    shape: tuple[int, ...] = (1,)
    names: tuple[str, ...] | None = None

    @property
    def arrow_type(self) -> pa.DataType:
        scalar = pa.from_numpy_dtype(np.dtype(self.dtype))
        return scalar if self.shape == (1,) else pa.list_(scalar, self.shape[0])


STANDARD_COLUMNS = {
    "timestamp": Column("float32"),  # seconds since the episode's first frame
    "frame_index": Column("int64"),
    "episode_index": Column("int64"),
    "index": Column("int64"),  # over the whole dataset
    "task_index": Column("int64"),
}


FLAGS = (
    "intervention",  # a corrector acted, not the policy
    "perturbed",  # the action is a disturbance, not to be imitated
    "hesitating",  # a pause for no reason
    "failed_grasp",  # on the way to a grasp beside the object
    "retrying",  # the grasp that follows it
)
# What a column is where a dataset of another program or time lacks it: no flag is set, the rest is unknown.
DEFAULTS = {name: np.bool_(False) for name in FLAGS}  # noqa: FBT003
DEFAULTS |= {name: np.full(3, np.nan, np.float32) for name in GROUNDING_COLUMNS}
DEFAULTS |= {name: np.full(len(TURN_NAMES), np.nan, np.float32) for name in TURN_COLUMNS}
DEFAULTS[TOUCH_COLUMN] = np.full(len(TOUCH_NAMES), np.nan, np.float32)


@dataclass(frozen=True)
class Features:
    """A dataset's schema: cameras, their image size (height, width), the other columns, and cameras with depth.

    LeRobot feeds every column named observation* to a policy as state and every column named
    action* as action: keep what a policy must not see (rewards, poses of objects) out of both.
    Raises ValueError for what the format cannot hold.
    """

    cameras: tuple[str, ...]
    image_size: tuple[int, int]
    columns: Mapping[str, Column] = field(default_factory=dict)
    depth: tuple[str, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "cameras", tuple(self.cameras))  # lists come from config files
        object.__setattr__(self, "depth", tuple(self.depth))
        object.__setattr__(self, "image_size", tuple(self.image_size))
        if len(set(self.cameras)) != len(self.cameras):
            raise ValueError(f"a camera is named twice: {self.cameras}")
        if self.cameras and any(side % 2 or side < 2 for side in self.image_size):
            raise ValueError(f"image_size is {self.image_size}, expected even numbers of pixels")
        if unknown := set(self.depth) - set(self.cameras):
            raise ValueError(f"depth of {sorted(unknown)}, expected cameras of {self.cameras}")
        for key in (*self.cameras, *self.columns):
            if not key or "/" in key:
                raise ValueError(f"name {key!r} must not be empty or hold a '/'")
        for key, column in self.columns.items():
            _check_column(key, column)

    @property
    def depth_videos(self) -> dict[str, str]:
        """Return camera -> name of its depth video."""
        return {camera: camera + DEPTH_SUFFIX for camera in self.depth}

    @property
    def videos(self) -> tuple[str, ...]:
        """Return the names of all videos: those of cameras are the cameras' own."""
        return (*self.cameras, *self.depth_videos.values())

    def to_json(self, video_info: dict, depth_info: dict) -> dict:
        """Return the "features" of info.json."""
        images = {IMAGE_PREFIX + camera: self._video(3, video_info) for camera in self.cameras}
        images |= {IMAGE_PREFIX + name: self._video(1, depth_info) for name in self.depth_videos.values()}
        columns = {**self.columns, **STANDARD_COLUMNS}
        return images | {key: _column_to_json(column) for key, column in columns.items()}

    def _video(self, channels: int, info: dict) -> dict:
        shape = [*self.image_size, channels]
        return {"dtype": "video", "shape": shape, "names": ["height", "width", "channels"], "info": info}

    @classmethod
    def from_json(cls, features: dict) -> "Features":
        """Return the schema of an info.json: its videos, and its columns of numbers and vectors.

        Without texts, depth in other steps than millimetres and arrays of more dimensions, which other programs may
        have added.
        Raises KeyError, TypeError or ValueError when it is broken.
        """
        videos = {key: value for key, value in features.items() if _is_video(value)}
        sizes = {_image_size(value) for value in videos.values()}
        if len(sizes) > 1:
            raise ValueError(f"cameras with different image sizes: {sorted(sizes)}")
        columns = {
            key: Column(value["dtype"], tuple(value["shape"]), _names(value))
            for key, value in features.items()
            if key not in STANDARD_COLUMNS and value["dtype"] in DTYPES and len(value["shape"]) == 1
        }
        cameras = tuple(key.removeprefix(IMAGE_PREFIX) for key in videos)
        depth = tuple(camera for camera in cameras if _holds_mm(features.get(IMAGE_PREFIX + camera + DEPTH_SUFFIX)))
        return cls(cameras, sizes.pop() if sizes else (0, 0), columns, depth)

    def differences(self, other: "Features") -> list[str]:
        """Return how another schema differs, one line a difference; empty when they agree."""
        found = []
        for name in ("cameras", "image_size", "depth"):
            if getattr(self, name) != getattr(other, name):
                found.append(f"{name} {getattr(self, name)} and {getattr(other, name)}")
        for key in dict.fromkeys([*self.columns, *other.columns]):
            mine, theirs = self.columns.get(key), other.columns.get(key)
            if mine != theirs:
                found.append(f"column {key!r}: {mine or 'absent'} and {theirs or 'absent'}")
        return found


def _check_column(key: str, column: Column) -> None:
    if key in STANDARD_COLUMNS or key.startswith(IMAGE_PREFIX):
        raise ValueError(f"column {key!r} is written by the dataset itself")
    if column.dtype not in DTYPES:
        raise ValueError(f"column {key!r} has dtype {column.dtype!r}, expected one of {DTYPES}")
    if len(column.shape) != 1 or column.shape[0] < 1:
        raise ValueError(f"column {key!r} has shape {column.shape}, expected (n,), n >= 1")
    if column.names is not None and len(column.names) != column.shape[0]:
        raise ValueError(f"column {key!r} has {len(column.names)} names for shape {column.shape}")


def _column_to_json(column: Column) -> dict:
    names = None if column.names is None else list(column.names)
    return {"dtype": column.dtype, "shape": list(column.shape), "names": names}


def _is_video(feature: dict) -> bool:
    return feature["dtype"] == "video" and not (feature.get("info") or {}).get("is_depth_map")


def _holds_mm(feature: dict | None) -> bool:
    """Return whether a feature is a depth video whose levels are millimetres, as this project writes it."""
    info = (feature or {}).get("info") or {}
    return bool(info.get("is_depth_map")) and all(info.get(key) == value for key, value in DEPTH_LEVELS.items())


def _image_size(feature: dict) -> tuple[int, int]:
    """Return height and width, which converted datasets may give after the channels."""
    names, shape = feature.get("names") or ["height"], feature["shape"]
    height, width = shape[1:3] if str(names[0]).startswith("channel") else shape[:2]
    return int(height), int(width)


def _names(feature: dict) -> tuple[str, ...] | None:
    """Return one name a value, by their present names; None where there are none. Groups of names are joined."""
    names = feature.get("names")
    if isinstance(names, Mapping):
        names = [name for group in names.values() for name in group]
    if names is None or len(names) != feature["shape"][0]:
        return None
    return deprecated.value_names(tuple(names))


def file_indices(episode_index: int) -> dict[str, int]:
    """Return chunk_index and file_index of an episode's files."""
    chunk_index, file_index = divmod(episode_index, CHUNK_SIZE)
    return {"chunk_index": chunk_index, "file_index": file_index}


def data_path(root: Path, episode_index: int) -> Path:
    """Return the path of an episode's columns."""
    return root / DATA_PATH.format(**file_indices(episode_index))


def meta_path(root: Path, episode_index: int) -> Path:
    """Return the path of an episode's row of metadata and statistics; the file is its commit mark."""
    return root / META_PATH.format(**file_indices(episode_index))


def video_path(root: Path, camera: str, episode_index: int) -> Path:
    """Return the path of an episode's frames of one camera."""
    key = IMAGE_PREFIX + camera
    return root / VIDEO_PATH.format(video_key=key, **file_indices(episode_index))
