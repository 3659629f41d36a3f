"""One episode as a caller gives it, checked against the schema before anything is written."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from sim.dataset.depth_video import encode_depth
from sim.dataset.rows import as_column, is_metadata, metadata_type, plain
from sim.dataset.schema import Features
from sim.dataset.video import Video, encode_video

WIDENED = (  # what is given, what the column holds
    (pa.int64(), pa.float64()),
    (pa.list_(pa.int64()), pa.list_(pa.float64())),
)


@dataclass
class Episode:
    """What happened in one episode of T frames.

    columns: one array (T,) or (T, n) for every column of the schema.
    instruction: what the operator asked for.
    images: camera -> uint8 (T, H, W, 3) or an encoded `Video`, and depth uint16 (T, H, W), mm, by the names of
        `Features.depth_videos`.
    metadata: bool, int, float, str, or a list of them, by name: seed, success, whatever was drawn.
    """

    columns: Mapping[str, np.ndarray]
    instruction: str
    images: Mapping[str, np.ndarray | Video]
    metadata: Mapping[str, object] = field(default_factory=dict)


def check_metadata(
    metadata: Mapping[str, object], known: Mapping[str, pa.DataType]
) -> tuple[dict, dict[str, pa.DataType]]:
    """Return the metadata as plain values, without those that are None, and their column types.

    known: the types earlier episodes gave. A whole number is taken for a float where those are;
    any other change of type raises ValueError, as a column could not keep both exactly.
    """
    values = {key: plain(value) for key, value in metadata.items()}
    values = {key: value for key, value in values.items() if value is not None}
    types = {}
    for key, value in values.items():
        if not is_metadata(key):
            raise ValueError(f"metadata {key!r} has a name that the format uses itself")
        found = metadata_type(key, value)
        types[key] = known.get(key, found)
        if found != types[key] and (found, types[key]) not in WIDENED:
            raise ValueError(f"metadata {key!r} is {found}, but {types[key]} in earlier episodes")
    return values, types


def check_columns(columns: Mapping[str, np.ndarray], features: Features) -> tuple[dict[str, np.ndarray], int]:
    """Return the columns in their schema's dtypes, and T. Raises ValueError when one does not fit."""
    missing, extra = set(features.columns) - set(columns), set(columns) - set(features.columns)
    if missing or extra:
        raise ValueError(f"columns missing: {sorted(missing)}, not in schema: {sorted(extra)}")
    length = len(next(iter(columns.values())))
    if not length:
        raise ValueError("an episode without frames")
    kinds = features.columns.items()
    return {key: as_column(key, columns[key], kind, length) for key, kind in kinds}, length


def check_videos(
    images: Mapping[str, np.ndarray | Video], features: Features, fps: int, length: int
) -> dict[str, Video]:
    """Return every camera's video, encoded if it is not yet. Raises ValueError when one does not fit."""
    if set(images) != set(features.videos):
        raise ValueError(f"cameras {sorted(images)}, expected {sorted(features.videos)}")
    coded = {name: encode_depth if name in features.depth_videos.values() else encode_video for name in images}
    videos = {
        name: frames if isinstance(frames, Video) else coded[name](frames, fps) for name, frames in images.items()
    }
    for camera, video in videos.items():
        if (video.frames, video.size) != (length, features.image_size):
            raise ValueError(
                f"camera {camera!r} has {video.frames} frames of {video.size}, "
                f"expected {length} of {features.image_size}"
            )
    return videos


def digest(columns: Mapping[str, np.ndarray], videos: Mapping[str, Video], instruction: str, metadata: dict) -> str:
    """Return a hash of an episode: any change to a value, a pixel or the metadata changes it."""
    found = hashlib.sha256(json.dumps([instruction, metadata], sort_keys=True).encode())
    for key in sorted(columns):
        found.update(key.encode())
        found.update(np.ascontiguousarray(columns[key]).tobytes())
    for camera in sorted(videos):
        found.update(camera.encode())
        found.update(videos[camera].data)
    return found.hexdigest()
