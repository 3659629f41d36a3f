"""Cached features: what a policy's frozen encoders make of every frame of a dataset, computed once.

They lie beside the dataset in <dataset>.cache/<fingerprint>/: one file a feature array, one row a
frame in the dataset's order, and index.json. An episode counts once the index names it; that happens
after its rows reached the disk, so a killed run is resumed at the next call, and episodes added to
the dataset later are added to the cache.

Shapes: B frames, T frames of an episode.
"""

import contextlib
import logging
import os
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import torch

from policies.core.inputs import Inputs
from policies.processing.feature_index import Index, inherited, read_index, save_index
from policies.processing.observation import ObservationProcessor
from policies.processing.resize import resize
from policies.processing.steps import frame_sentences
from sim.core.console import track
from sim.core.errors import NOTHING_NEW, UserError, keeps
from sim.core.files import Lock
from sim.dataset.reader import Dataset

_log = logging.getLogger(__name__)

DEPTH = "depth."  # prefix of the names of its arrays
MAPS, POINTS, MASK = np.dtype("<f2"), np.dtype("<f4"), np.dtype("?")
BATCH = 16  # frames encoded at once: of 1 to 200 the fastest with the eye (20 ms a frame at 1, 9.5 here, 13 at 128)


def feature_arrays(inputs: Inputs, *, words: bool = False) -> dict[str, np.ndarray]:
    """Return what is cached of inputs by name: "<camera>.<i>" float16 maps, "depth.<camera>" float16 cells, "points"
    and "turn" float32.

    words: they differ from frame to frame, and are cached too: "words" float16, "word_mask" bool.
    """
    maps = {f"{camera}.{i}": part for camera, parts in inputs.maps.items() for i, part in enumerate(parts)}
    maps |= {DEPTH + camera: cells for camera, cells in inputs.depth.items()}
    found = {"points": inputs.points, "turn": inputs.turn}
    points: dict[str, np.ndarray] = {
        name: value.numpy().astype(POINTS) for name, value in found.items() if value is not None
    }
    if words and inputs.words is not None and inputs.word_mask is not None:
        maps["words"], points["word_mask"] = inputs.words, inputs.word_mask.numpy().astype(MASK)
    with np.errstate(over="ignore"):  # the caller refuses what does not fit
        return {name: part.numpy().astype(MAPS) for name, part in maps.items()} | points


def cached_inputs(arrays: Mapping[str, np.ndarray], state: np.ndarray) -> Inputs:
    """Return the inputs of what `feature_arrays` gave of frames in state (B, D)."""
    tensors = {name: torch.from_numpy(array).float() for name, array in arrays.items()}
    points, turn, words, mask = (tensors.pop(name, None) for name in ("points", "turn", "words", "word_mask"))
    depth = {name.removeprefix(DEPTH): tensors.pop(name) for name in list(tensors) if name.startswith(DEPTH)}
    cameras = dict.fromkeys(name.rpartition(".")[0] for name in tensors)
    maps = {c: tuple(tensor for name, tensor in tensors.items() if name.rpartition(".")[0] == c) for c in cameras}
    there = None if mask is None else mask.bool()
    return Inputs(torch.from_numpy(state), maps, words, there, points=points, turn=turn, depth=depth)


class FeatureCache:
    """A complete cache, opened for reading; cheap to send to a worker process."""

    def __init__(self, folder: Path | str):
        """UserError when the directory holds no complete cache."""
        self.folder = Path(folder)
        index = read_index(self.folder)
        if index is None or index.missing:
            raise UserError(f"{self.folder} holds no complete cache; run cache_features again")
        self._lengths = np.array([episode[0] for episode in index.episodes], np.int64)
        self._first_rows = index.first_rows
        rows = int(self._first_rows[-1])
        self._arrays = {
            name: open_rows(array_path(self.folder, name), (rows, *shape), dtype)
            for name, (shape, dtype) in index.arrays.items()
        }

    def __reduce__(self) -> tuple:
        # A pickled memory map is a copy of the whole file; the path is enough.
        return FeatureCache, (self.folder,)

    def gather(
        self, episode_indices: Sequence[int] | np.ndarray, frame_indices: Sequence[int] | np.ndarray
    ) -> dict[str, np.ndarray]:
        """Return new arrays (B, ...) of these frames by name. IndexError for an episode or frame that is not there."""
        wanted = self._row_numbers(np.asarray(episode_indices), np.asarray(frame_indices))
        return {name: rows[wanted] for name, rows in self._arrays.items()}

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


def cache_features(dataset: Dataset, processor: ObservationProcessor, workers: int = 1) -> FeatureCache:
    """Compute what the cache lacks, one episode at a time behind a progress bar, and open it.

    workers: threads, each decoding and encoding episodes of its own (onnxruntime and the video
    decoder release Python's lock; give `processor` one thread then).
    UserError when there is nothing to compute, no room, or another process computes it.
    """
    folder = cache_folder(dataset.root) / _name(dataset, processor)
    if dataset.features.image_size != processor.spec.image_size:
        found, size = ("x".join(map(str, size)) for size in (dataset.features.image_size, processor.spec.image_size))
        _log.info("%s: images of %s are resized to %s", dataset.root, found, size)
    index = plan(dataset, processor)
    old = read_index(folder)
    index.done = inherited(index, old)
    if index.missing or index != old:
        with Lock(folder):
            # Read again: until the lock was held, another process may have added episodes.
            index.done = inherited(index, read_index(folder))
            fill(folder, index, dataset, processor, workers)
    return FeatureCache(folder)


def cache_folder(root: Path) -> Path:
    """Return where the features of a dataset lie: beside it, as what lies inside goes to a hub with it."""
    folder, old = root.with_name(f"{root.name}.cache"), root / "cache"
    if old.is_dir() and not folder.exists():
        with contextlib.suppress(OSError):
            old.rename(folder)
    return folder


def _name(dataset: Dataset, processor: ObservationProcessor) -> str:
    size = processor.spec.image_size
    return processor.fingerprint + ("" if dataset.features.image_size == size else f"-{size[0]}x{size[1]}")


def plan(dataset: Dataset, processor: ObservationProcessor) -> Index:
    """Return the index of a complete cache of this dataset, with nothing done yet."""
    if not dataset.num_episodes or not dataset.features.cameras:
        raise UserError(f"dataset {dataset.root} has no episodes or no cameras")
    black = {camera: np.zeros((1, *processor.spec.image_size, 3), np.uint8) for camera in dataset.features.cameras}
    state = np.zeros((1, processor.spec.state_dim), np.float32)
    none = {camera: np.zeros((1, *dataset.features.image_size), np.uint16) for camera in processor.depth_cameras}
    sample = _encode(processor, black, none, state, [_sentences(dataset, processor, 0)[0]], slice(1))
    return Index(
        arrays={name: [list(array.shape[1:]), array.dtype.str] for name, array in sample.items()},
        episodes=[_identity(dataset, processor, episode) for episode in range(dataset.num_episodes)],
        done=[],
    )


def identity(dataset: Dataset, episode: int) -> list[int]:
    """Return numbers that distinguish an episode from another recorded in its place: frames, bytes of videos, and
    where in them it begins if it shares them."""
    place = dataset.place(episode)
    starts = [span.first for span in place.spans.values()]
    sizes = [video.stat().st_size for video in place.videos.values()]
    return [dataset.length(episode), *sizes, *(starts if any(starts) else [])]


def _identity(dataset: Dataset, processor: ObservationProcessor, episode: int) -> list[int]:
    """Return `identity`, and what frames are told where that changes in the episode or what is cached depends on it:
    of an encoder that reads it with the images, and of a frozen part that finds what it names."""
    sentences = _sentences(dataset, processor, episode)
    found_by_words = processor.language is not None and bool(processor.policy.frozen_weights())
    matters = len(set(sentences)) > 1 or processor.joint is not None or found_by_words
    told = [zlib.crc32("\n".join(sentences).encode())] if matters else []
    return [*identity(dataset, episode), *told]


def _sentences(dataset: Dataset, processor: ObservationProcessor, episode: int) -> list[str]:
    return frame_sentences(dataset, episode, by_step=processor.policy.plays_steps)


def fill(folder: Path, index: Index, dataset: Dataset, processor: ObservationProcessor, workers: int) -> None:
    """Compute the missing episodes and note each in the index as soon as its rows are on the disk."""
    first_rows, missing = index.first_rows, index.missing
    # Before any row is overwritten: the index must not promise rows of an older recording.
    save_index(folder, index)
    for name in index.arrays:
        array_path(folder, name).touch()

    def compute(episode: int) -> int:
        for name, rows in encode_episode(dataset, processor, episode).items():
            write_rows(array_path(folder, name), rows, int(first_rows[episode]))
        return episode

    with ThreadPoolExecutor(workers) as pool, keeps(lambda: _kept(folder, index)):
        futures = [pool.submit(compute, episode) for episode in missing]
        try:
            for future in track(as_completed(futures), f"caching {dataset.root.name}", total=len(missing)):
                index.done = sorted([*index.done, future.result()])
                save_index(folder, index)
        finally:
            pool.shutdown(cancel_futures=True)


def _kept(folder: Path, index: Index) -> str:
    """Return what an interrupted run leaves behind."""
    done = len(index.done)
    return f"the features of {done} episodes are kept in {folder}; run again to go on" if done else NOTHING_NEW


def encode_episode(dataset: Dataset, processor: ObservationProcessor, episode: int) -> Mapping[str, np.ndarray]:
    """Return the arrays (T, ...) of one episode by name. UserError for a value beyond float16."""
    size = processor.spec.image_size
    images = {camera: resize(dataset.images(episode, camera), size) for camera in processor.cameras}
    depth = {camera: dataset.depth(episode, camera) for camera in processor.depth_cameras}
    state = dataset.columns(episode, ["observation.state"])["observation.state"]
    sentences = _sentences(dataset, processor, episode)
    batches = [slice(first, first + BATCH) for first in range(0, len(state), BATCH)]
    parts = [_encode(processor, images, depth, state, sentences, batch) for batch in batches]
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    for name, rows in arrays.items():
        if not np.isfinite(rows).all():
            raise UserError(f"features of episode {episode}, {name}, do not fit {rows.dtype} (float16: 65504)")
    return arrays


def _encode(
    processor: ObservationProcessor, images: Mapping[str, np.ndarray], depth: Mapping[str, np.ndarray],
    state: np.ndarray, sentences: list[str], batch: slice,
) -> dict[str, np.ndarray]:  # fmt: skip
    shown, far = ({camera: frames[batch] for camera, frames in one.items()} for one in (images, depth))
    inputs = processor.inputs(shown, state[batch], sentences[batch]) if processor.looks else Inputs(torch.tensor(state))
    inputs.depth = processor.depth_cells(far)
    return feature_arrays(inputs, words=processor.joint is not None and processor.policy.keeps_words)


def write_rows(path: Path, rows: np.ndarray, first_row: int) -> None:
    """Write rows into an array's file. Plain writes: a full disk is an error here, not a signal."""
    try:
        with path.open("r+b") as file:
            file.seek(first_row * rows[0].nbytes)
            file.write(rows.tobytes())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def open_rows(path: Path, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Return the read-only rows of an array."""
    try:
        return np.asarray(np.memmap(path, dtype, mode="r", shape=shape))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}; remove {path.parent}") from error


def array_path(folder: Path, name: str) -> Path:
    """Return where the rows of an array lie."""
    return folder / f"{name}.rows"
