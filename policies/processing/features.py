"""Cached features: the frozen maps of every frame of a dataset, computed once and read at random.

They stand beside the raw data in <dataset>/cache/<vision fingerprint>/: one file of float16 rows
per camera, one row per frame in the dataset's order, and index.json, which says what is there. An
episode counts once the index names it; that happens after its rows reached the disk, so a killed
run is resumed at the next call, and episodes added to the dataset later are added to the cache.

Shapes: B frames, C8 and C16 channels, h and w rows and columns of the stride-8 map.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np

from policies.processing.feature_index import Index, inherited, read_index, save_index
from policies.vision.efficientnet import STRIDE, FrozenVision
from sim.core.errors import UserError
from sim.dataset.files import lock
from sim.dataset.reader import Dataset
from sim.dataset.schema import video_path

DTYPE = np.dtype("<f2")

Maps = tuple[np.ndarray, np.ndarray]
Progress = Callable[[int, int], None]


class FeatureCache:
    """A complete cache, opened for reading; cheap to send to a worker process."""

    def __init__(self, folder: Path | str):
        """Raises UserError when the directory holds no complete cache."""
        self.folder = Path(folder)
        index = read_index(self.folder)
        if index is None or index.missing:
            raise UserError(f"{self.folder} holds no complete cache; run cache_features again")
        self.cameras = tuple(index.cameras)
        self._shapes = tuple(index.shape8), tuple(index.shape16)
        self._lengths = np.array([episode[0] for episode in index.episodes], np.int64)
        self._first_rows = index.first_rows
        self._split = int(np.prod(index.shape8))
        shape = (int(self._first_rows[-1]), index.width)
        paths = {camera: camera_path(self.folder, camera) for camera in self.cameras}
        self._rows = {camera: open_rows(path, shape) for camera, path in paths.items()}

    def __reduce__(self) -> tuple:
        # A pickled memory map is a copy of the whole file; the path is enough.
        return FeatureCache, (self.folder,)

    @property
    def num_frames(self) -> int:
        """Frames of all episodes together."""
        return int(self._first_rows[-1])

    def gather(
        self, episode_indices: Sequence[int] | np.ndarray, frame_indices: Sequence[int] | np.ndarray
    ) -> dict[str, Maps]:
        """Camera -> float16 maps (B, C8, h, w) and (B, C16, h / 2, w / 2) of these frames.

        The arrays are new ones. Raises IndexError for an episode or a frame that is not there.
        """
        wanted = self._row_numbers(np.asarray(episode_indices), np.asarray(frame_indices))
        return {camera: self._maps(rows[wanted]) for camera, rows in self._rows.items()}

    def _row_numbers(self, episodes: np.ndarray, frames: np.ndarray) -> np.ndarray:
        if episodes.shape != frames.shape or episodes.ndim != 1:
            raise ValueError(f"indices of shapes {episodes.shape}, {frames.shape}, expected (B,) twice")
        outside = (episodes < 0) | (episodes >= len(self._lengths))
        if outside.any():
            raise IndexError(f"episode {episodes[outside][0]} of a cache with {len(self._lengths)}")
        outside = (frames < 0) | (frames >= self._lengths[episodes])
        if outside.any():
            episode, frame = episodes[outside][0], frames[outside][0]
            length = self._lengths[episode]
            raise IndexError(f"frame {frame} of episode {episode}, which has {length} frames")
        return self._first_rows[episodes] + frames

    def _maps(self, rows: np.ndarray) -> Maps:
        shape8, shape16 = self._shapes
        stride8, stride16 = rows[:, : self._split], rows[:, self._split :]
        return stride8.reshape(-1, *shape8), stride16.reshape(-1, *shape16)


def cache_features(
    dataset: Dataset,
    vision: FrozenVision,
    workers: int = 1,
    progress: Progress | None = None,
    folder: Path | None = None,
) -> FeatureCache:
    """Compute what the cache lacks, one episode at a time, and open it.

    workers: threads, each decoding and encoding episodes of its own (onnxruntime and the video
    decoder let go of Python's lock; give `vision` one thread then). progress: called with episodes
    done and episodes in all. folder: instead of <dataset>/cache/, for a dataset that is read-only.
    Raises UserError when there is nothing to compute, no room, or another process computes it.
    """
    folder = (folder or dataset.root / "cache") / vision.fingerprint
    index = plan(dataset, vision)
    old = read_index(folder)
    index.done = inherited(index, old)
    if index.missing or index != old:
        with lock(folder):
            # Read again: until the lock was held, another process may have added episodes.
            index.done = inherited(index, read_index(folder))
            fill(folder, index, dataset, vision, workers, progress or (lambda done, total: None))
    return FeatureCache(folder)


def plan(dataset: Dataset, vision: FrozenVision) -> Index:
    """The index of a complete cache of this dataset, with nothing done yet."""
    height, width = dataset.features.image_size
    if not dataset.num_episodes or not dataset.features.cameras:
        raise UserError(f"dataset {dataset.root} has no episodes or no cameras")
    if height % STRIDE or width % STRIDE:
        size = f"images of {height}x{width} pixels"
        raise UserError(f"dataset {dataset.root} has {size}, expected multiples of {STRIDE}")
    channels8, channels16 = vision.channels
    return Index(
        cameras=list(dataset.features.cameras),
        shape8=[channels8, height // 8, width // 8],
        shape16=[channels16, height // 16, width // 16],
        episodes=[identity(dataset, episode) for episode in range(dataset.num_episodes)],
        done=[],
    )


def identity(dataset: Dataset, episode: int) -> list[int]:
    """Numbers that tell an episode from another recorded in its place: frames, bytes of videos."""
    cameras = dataset.features.cameras
    videos = (video_path(dataset.root, camera, episode) for camera in cameras)
    return [dataset.length(episode), *(video.stat().st_size for video in videos)]


def fill(
    folder: Path,
    index: Index,
    dataset: Dataset,
    vision: FrozenVision,
    workers: int,
    progress: Progress,
) -> None:
    """Compute the missing episodes and note each in the index as soon as its rows are safe."""
    first_rows, missing = index.first_rows, index.missing
    # Before any row is overwritten: the index must not promise rows of an older recording.
    save_index(folder, index)
    for camera in index.cameras:
        camera_path(folder, camera).touch()
    progress(len(index.done), len(index.episodes))

    def compute(episode: int) -> int:
        for camera in index.cameras:
            rows = encode_rows(vision, dataset.images(episode, camera), camera, episode)
            write_rows(camera_path(folder, camera), rows, int(first_rows[episode]))
        return episode

    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(compute, episode) for episode in missing]
        try:
            for future in as_completed(futures):
                index.done = sorted([*index.done, future.result()])
                save_index(folder, index)
                progress(len(index.done), len(index.episodes))
        finally:
            pool.shutdown(cancel_futures=True)


def encode_rows(vision: FrozenVision, images: np.ndarray, camera: str, episode: int) -> np.ndarray:
    """float16 rows (T, width) of one episode and camera."""
    maps = vision.encode(images, dtype=DTYPE)
    rows = np.concatenate([part.reshape(len(images), -1) for part in maps], axis=1)
    if not np.isfinite(rows).all():
        raise UserError(f"features of episode {episode}, {camera}, do not fit float16 (65504)")
    return rows


def write_rows(path: Path, rows: np.ndarray, first_row: int) -> None:
    """Write rows into a camera's file. Plain writes: a full disk is an error here, not a signal."""
    try:
        with path.open("r+b") as file:
            file.seek(first_row * rows[0].nbytes)
            file.write(rows.tobytes())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def open_rows(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """Read-only rows of a camera's file."""
    try:
        return np.asarray(np.memmap(path, DTYPE, mode="r", shape=shape))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}; remove {path.parent}") from error


def camera_path(folder: Path, camera: str) -> Path:
    """Where the rows of a camera stand."""
    return folder / f"{camera}.f16"
